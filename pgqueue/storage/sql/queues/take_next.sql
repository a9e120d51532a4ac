-- The next message that may run now, taken out of the queue for good: for tests, which run messages where they are sent.
WITH next AS MATERIALIZED (
    SELECT ready.slot, ready.lane, ready.xid, ready.id
    FROM pgqueue.ready JOIN pgqueue.lanes AS lane ON lane.id = ready.lane
    ORDER BY lane.priority, ready.xid, ready.id
    LIMIT 1
    FOR UPDATE OF ready SKIP LOCKED
),
taken AS (
    DELETE FROM pgqueue.ready
    USING next
    WHERE (ready.slot, ready.lane, ready.xid, ready.id) = (next.slot, next.lane, next.xid, next.id)
    RETURNING ready.slot, ready.id
)
SELECT message.payload
FROM taken JOIN pgqueue.messages AS message ON message.slot = taken.slot AND message.id = taken.id
