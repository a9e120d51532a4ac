-- Takes messages out that no worker holds: ready, parked, scheduled. With %(record)s their outcome is "cancelled".
--
-- A row that is being claimed is waited for, on purpose: it is gone then, and the caller, who looks again, finds it
-- held. The caller forbids sequential scans, for the statistics of these tables are worth nothing.
WITH present AS MATERIALIZED (
    SELECT
        clock_timestamp() AS instant,
        (extract(epoch FROM clock_timestamp())::bigint / 7200 %% 16)::smallint AS slice
),
message AS MATERIALIZED (
    SELECT slot, id, xid, lane, enqueued_at, message_id, attempts, foreign_id, actor_name
    FROM pgqueue.messages
    WHERE message_id = ANY (%(keys)s::uuid[])
),
ready AS (
    DELETE FROM pgqueue.ready
    USING message
    WHERE ready.slot = message.slot
        AND ready.lane = message.lane
        AND ready.xid = message.xid
        AND ready.id = message.id
    RETURNING
        message.id, message.enqueued_at, message.message_id, message.lane, message.attempts, message.foreign_id,
        message.actor_name
),
parked AS (
    DELETE FROM pgqueue.parked
    WHERE message_id = ANY (%(keys)s::uuid[])
    RETURNING id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name
),
scheduled AS (
    DELETE FROM pgqueue.scheduled
    WHERE message_id = ANY (%(keys)s::uuid[])
    RETURNING id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name
),
removed AS MATERIALIZED (
    SELECT * FROM ready UNION ALL SELECT * FROM parked UNION ALL SELECT * FROM scheduled
),
finished AS (
    INSERT INTO pgqueue.outcomes
        (id, finished_at, message_id, lane, wait_ms, run_ms, slice, attempts, status, foreign_id, actor_name, error)
    SELECT
        removed.id, present.instant, removed.message_id, removed.lane,
        least(extract(epoch FROM present.instant - removed.enqueued_at) * 1000, 2147483647)::integer, 0,
        present.slice, removed.attempts, 'c', removed.foreign_id, removed.actor_name, NULL
    FROM removed, present
    WHERE %(record)s::boolean
)
SELECT DISTINCT message_id
FROM removed
