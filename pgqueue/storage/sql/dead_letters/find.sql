-- The dead letters of a message, the youngest first. They are gathered before they are sorted: without statistics the
-- planner would rather walk the index of died_at, over all letters, than sort one.
WITH found AS MATERIALIZED (
    SELECT
        id, died_at, enqueued_at, message_id, foreign_id, queue_name, priority, actor_name, attempts, reason, error,
        traceback, payload
    FROM pgqueue.dead_letters
    WHERE message_id = %(key)s::uuid
)
SELECT
    id, died_at, enqueued_at, message_id::text AS message_id, foreign_id, queue_name, priority, actor_name,
    attempts::integer AS attempts, reason, error, traceback, payload
FROM found
ORDER BY died_at DESC, id DESC
LIMIT 10
