-- What died, by queue, actor, reason and the kind of error (what stands before the first colon), among the youngest
-- %(most)s dead letters.
SELECT
    queue_name, actor_name, reason, split_part(coalesce(error, ''), ':', 1) AS kind, count(*) AS count,
    min(died_at) AS first_at, max(died_at) AS last_at,
    (array_agg(error ORDER BY died_at DESC))[1] AS last_error, count(*) OVER () AS groups
FROM (
    SELECT queue_name, actor_name, reason, error, died_at
    FROM pgqueue.dead_letters
    WHERE (%(queue_name)s::text IS NULL OR queue_name = %(queue_name)s)
        AND (%(actor_name)s::text IS NULL OR actor_name = %(actor_name)s)
        AND (%(reason)s::text IS NULL OR reason = %(reason)s)
        AND (%(error)s::text IS NULL OR strpos(lower(coalesce(error, '')), lower(%(error)s)) > 0)
    ORDER BY died_at DESC
    LIMIT %(most)s
) AS letter
GROUP BY queue_name, actor_name, reason, split_part(coalesce(error, ''), ':', 1)
ORDER BY count(*) DESC, max(died_at) DESC
LIMIT 100
