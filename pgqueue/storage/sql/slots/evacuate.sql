-- Moves the stragglers of an almost empty slot to the open one, under the lock: ready messages keep their place (the
-- caller bumps rewind_seq after the commit), leases stay with their holders. Leases in which
-- everything is settled are left behind: two that settled its last messages at once may not have seen of each other.
WITH present AS MATERIALIZED (
    SELECT last_value::smallint AS slot
    FROM pgqueue.open_slot
),
waiting AS MATERIALIZED (
    SELECT xid, id, lane
    FROM pgqueue.ready_0
),
held AS MATERIALIZED (
    SELECT lid, claimed_at, owner, ids, done, queue_name
    FROM pgqueue.leases_0
    WHERE NOT ids <@ done
),
kept AS MATERIALIZED (
    SELECT id FROM waiting
    UNION
    SELECT part.id FROM held, unnest(held.ids) AS part (id) WHERE part.id <> ALL (held.done)
),
messages AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT
        message.id, message.xid, message.enqueued_at, message.message_id, message.lane, present.slot, message.attempts,
        message.foreign_id, message.actor_name, message.payload
    FROM present, kept
    JOIN pgqueue.messages_0 AS message ON message.id = kept.id
),
ready AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT waiting.xid, waiting.id, waiting.lane, present.slot
    FROM present, waiting
    RETURNING id
),
leases AS (
    INSERT INTO pgqueue.leases (lid, claimed_at, owner, slot, ids, done, queue_name)
    SELECT held.lid, held.claimed_at, held.owner, present.slot, held.ids, held.done, held.queue_name
    FROM present, held
    RETURNING lid
)
SELECT (SELECT count(*) FROM ready)::integer AS ready, (SELECT count(*) FROM leases)::integer AS leases
