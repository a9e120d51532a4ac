-- The failed attempts of some messages, the last of each first, a few of each. The index of message_id lies in each
-- slice: a probe each, of which most see an empty one.
SELECT
    part.message_id::text AS key, part.failed_at, part.kind, part.actor_name, part.worker, part.wait_ms,
    part.run_ms, part.retries, part.error, part.traceback
FROM unnest(%(keys)s::uuid[]) AS wanted (key)
CROSS JOIN LATERAL (
    SELECT
        message_id, failed_at, kind::text AS kind, actor_name, worker, wait_ms, run_ms, retries, error,
        CASE WHEN %(tracebacks)s::boolean THEN traceback END AS traceback
    FROM pgqueue.attempts
    WHERE message_id = wanted.key
    ORDER BY failed_at DESC
    LIMIT %(most)s
) AS part
ORDER BY part.message_id, part.failed_at DESC
