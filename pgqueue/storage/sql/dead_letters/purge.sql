-- Deletes dead letters that are older than their time to live, some at a time.
DELETE FROM pgqueue.dead_letters
WHERE id = ANY (ARRAY(
    SELECT id
    FROM pgqueue.dead_letters
    WHERE died_at < now() - %(ttl_s)s * interval '1 second'
    ORDER BY died_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
