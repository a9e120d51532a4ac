-- Every row of a message that can still run: where it is, since when, and who holds it.
WITH message AS MATERIALIZED (
    SELECT slot, id, xid, lane, enqueued_at, attempts, foreign_id, actor_name, payload
    FROM pgqueue.messages
    WHERE message_id = %(key)s::uuid
),
row AS (
    SELECT
        'running' AS state, message.id, message.xid, message.lane, message.enqueued_at, message.attempts,
        message.foreign_id, message.actor_name, message.payload, lease.claimed_at AS since, lease.owner
    FROM message
    JOIN pgqueue.leases AS lease ON lease.slot = message.slot
    WHERE message.id = ANY (lease.ids) AND message.id <> ALL (lease.done)
    UNION ALL
    SELECT
        'queued', message.id, message.xid, message.lane, message.enqueued_at, message.attempts,
        message.foreign_id, message.actor_name, message.payload, message.enqueued_at, NULL
    FROM message
    JOIN pgqueue.ready ON ready.slot = message.slot
    WHERE ready.lane = message.lane AND ready.xid = message.xid AND ready.id = message.id
    UNION ALL
    SELECT
        'parked', id, 0, lane, enqueued_at, attempts, foreign_id, actor_name, payload, parked_at, NULL
    FROM pgqueue.parked
    WHERE message_id = %(key)s::uuid
    UNION ALL
    SELECT
        'scheduled', id, 0, lane, enqueued_at, attempts, foreign_id, actor_name, payload, due_at, NULL
    FROM pgqueue.scheduled
    WHERE message_id = %(key)s::uuid
)
SELECT
    row.state, row.id, row.xid, row.lane, lane.queue_name, lane.priority, row.actor_name, row.foreign_id,
    row.attempts::integer AS attempts, row.enqueued_at, row.since, row.owner, row.payload,
    clock_timestamp() AS now
FROM row
JOIN pgqueue.lanes AS lane ON lane.id = row.lane
LIMIT 10
