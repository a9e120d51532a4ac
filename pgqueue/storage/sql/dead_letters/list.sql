-- Dead letters of a queue, youngest first.
SELECT
    id, died_at, enqueued_at, message_id::text AS message_id, foreign_id, queue_name, priority, actor_name,
    attempts::integer AS attempts, reason, error, traceback, payload
FROM pgqueue.dead_letters
WHERE queue_name = %(queue_name)s
ORDER BY died_at DESC, id DESC
LIMIT %(limit)s
