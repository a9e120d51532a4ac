-- Makes an event visible for a while, at least; one that is visible already stays so for longer. Those who wait are
-- told. The caller has locked the key.
WITH present AS MATERIALIZED (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS instant
),
longer AS (
    UPDATE pgqueue.rate_limits
    SET expires_at = greatest(expires_at, present.instant + %(ttl)s::interval)
    FROM present
    WHERE key = %(key)s::text
    RETURNING 1
),
added AS (
    INSERT INTO pgqueue.rate_limits (key, era, value, expires_at)
    SELECT %(key)s::text, 0, 1, present.instant + %(ttl)s::interval
    FROM present
    WHERE NOT EXISTS (SELECT FROM pgqueue.rate_limits WHERE key = %(key)s::text)
)
SELECT count(CASE WHEN pg_notification_queue_usage() < 0.9 THEN pg_notify(wait.channel, wait.ticket::text) END)
FROM pgqueue.waits AS wait
WHERE wait.key = %(key)s::text
