-- Dead letters that match, the youngest first, after a place in that order. Without a queue the index of died_at leads.
-- The length of a payload is known without reading it, and those of more than %(most_bytes)s are not read.
SELECT
    id, died_at, enqueued_at, message_id::text AS message_id, foreign_id, queue_name, priority, actor_name,
    attempts::integer AS attempts, reason, error, traceback, octet_length(payload) AS size,
    CASE
        WHEN %(most_bytes)s::bigint IS NULL OR octet_length(payload) <= %(most_bytes)s THEN payload
        ELSE '\x'::bytea
    END AS payload
FROM pgqueue.dead_letters
WHERE died_at <= coalesce(%(before_at)s::timestamptz, 'infinity')
    AND (%(before_at)s::timestamptz IS NULL OR (died_at, id) < (%(before_at)s::timestamptz, %(before_id)s::bigint))
    AND (%(queue_name)s::text IS NULL OR queue_name = %(queue_name)s)
    AND (%(actor_name)s::text IS NULL OR actor_name = %(actor_name)s)
    AND (%(reason)s::text IS NULL OR reason = %(reason)s)
    AND (%(error)s::text IS NULL OR strpos(lower(coalesce(error, '')), lower(%(error)s)) > 0)
ORDER BY died_at DESC, id DESC
LIMIT %(limit)s
