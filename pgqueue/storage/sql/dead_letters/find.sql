-- The dead letters of a message, the youngest first.
SELECT
    id, died_at, enqueued_at, message_id::text AS message_id, foreign_id, queue_name, priority, actor_name,
    attempts::integer AS attempts, reason, error, traceback, payload
FROM pgqueue.dead_letters
WHERE message_id = %(key)s::uuid
ORDER BY died_at DESC, id DESC
LIMIT 10
