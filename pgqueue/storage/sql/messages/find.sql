-- A message that is not at its end, or among the dead letters, by its id: the most alive of its rows.
WITH message AS MATERIALIZED (
    SELECT slot, id, xid, lane, payload
    FROM pgqueue.messages
    WHERE message_id = %(key)s::uuid
),
found AS (
    SELECT
        1 AS place, message.payload, 'running' AS status, lease.claimed_at AS since,
        worker.host || ':' || worker.pid::text AS worker, NULL AS error
    FROM message
    JOIN pgqueue.leases AS lease ON lease.slot = message.slot
    LEFT JOIN pgqueue.workers AS worker ON worker.owner = lease.owner
    WHERE message.id = ANY (lease.ids) AND message.id <> ALL (lease.done)
    UNION ALL
    SELECT 2, message.payload, 'queued', NULL, NULL, NULL
    FROM message
    JOIN pgqueue.ready
        ON ready.slot = message.slot AND ready.lane = message.lane AND ready.xid = message.xid AND ready.id = message.id
    UNION ALL
    SELECT 2, payload, 'queued', NULL, NULL, NULL
    FROM pgqueue.parked
    WHERE message_id = %(key)s::uuid
    UNION ALL
    SELECT 3, payload, 'scheduled', NULL, NULL, NULL
    FROM pgqueue.scheduled
    WHERE message_id = %(key)s::uuid
    UNION ALL
    SELECT 4, payload, 'failed', died_at, NULL, coalesce(traceback, error, reason)
    FROM pgqueue.dead_letters
    WHERE message_id = %(key)s::uuid
)
SELECT payload, status, extract(epoch FROM since)::double precision AS since, worker, error
FROM found
ORDER BY place
LIMIT 1
