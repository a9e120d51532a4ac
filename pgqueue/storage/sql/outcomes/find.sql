-- How a message has ended, the last end first.
SELECT
    outcome.status::text AS status, outcome.finished_at, outcome.wait_ms, outcome.run_ms,
    outcome.attempts::integer AS attempts, outcome.error, lane.queue_name, lane.priority, outcome.actor_name,
    outcome.foreign_id
FROM pgqueue.outcomes AS outcome
JOIN pgqueue.lanes AS lane ON lane.id = outcome.lane
WHERE outcome.message_id = %(key)s::uuid
ORDER BY outcome.finished_at DESC
LIMIT 10
