-- Puts claimed messages of paused actors aside: off their leases, as in messages/requeue, and out of the claims' way.
WITH given AS MATERIALIZED (
    SELECT lid, array_agg(id) AS ids
    FROM unnest(%(lids)s::bigint[], %(ids)s::bigint[]) AS message (lid, id)
    GROUP BY lid
),
held AS MATERIALIZED (
    SELECT lease.lid, lease.slot, lease.ids, lease.done, given.ids AS given
    FROM given
    JOIN pgqueue.leases AS lease ON lease.lid = given.lid
    WHERE lease.owner = %(owner)s::uuid
    FOR UPDATE OF lease
),
still_open AS MATERIALIZED (
    SELECT held.slot, held.lid, part.id
    FROM held, unnest(held.given) AS part (id)
    WHERE part.id = ANY (held.ids) AND part.id <> ALL (held.done)
),
marked AS (
    UPDATE pgqueue.leases AS lease
    SET done = lease.done || part.ids
    FROM (SELECT slot, lid, array_agg(id) AS ids FROM still_open GROUP BY slot, lid) AS part
    WHERE lease.lid = part.lid AND lease.slot = part.slot
)
INSERT INTO pgqueue.parked (id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
SELECT
    message.id, message.enqueued_at, message.message_id, message.lane, message.attempts, message.foreign_id,
    message.actor_name, message.payload
FROM still_open
JOIN pgqueue.messages AS message ON message.slot = still_open.slot AND message.id = still_open.id
