-- Drops everything of a queue that no worker holds: ready, parked, scheduled and dead messages.
WITH lane AS MATERIALIZED (
    SELECT id
    FROM pgqueue.lanes
    WHERE queue_name = %(queue_name)s
),
ready AS (
    DELETE FROM pgqueue.ready
    WHERE lane IN (SELECT id FROM lane)
    RETURNING id
),
parked AS (
    DELETE FROM pgqueue.parked
    WHERE lane IN (SELECT id FROM lane)
    RETURNING id
),
scheduled AS (
    DELETE FROM pgqueue.scheduled
    WHERE lane IN (SELECT id FROM lane)
    RETURNING id
),
dead AS (
    DELETE FROM pgqueue.dead_letters
    WHERE queue_name = %(queue_name)s
    RETURNING id
)
SELECT
    (SELECT count(*) FROM ready) + (SELECT count(*) FROM parked) AS ready, (SELECT count(*) FROM scheduled) AS scheduled,
    (SELECT count(*) FROM dead) AS dead
