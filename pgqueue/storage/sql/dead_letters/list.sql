-- Dead letters of a queue, youngest first.
SELECT id, died_at, message_id::text AS message_id, foreign_id, actor_name, reason, error, traceback, payload
FROM pgqueue.dead_letters
WHERE queue_name = %(queue_name)s
ORDER BY died_at DESC, id DESC
LIMIT %(limit)s
