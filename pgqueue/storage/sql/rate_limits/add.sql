-- Sets a key that does not exist, or whose time is over. The caller has locked the key.
WITH present AS MATERIALIZED (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS instant
),
held AS MATERIALIZED (
    SELECT number.ctid AS place, number.era, number.expires_at > present.instant AS lives
    FROM present, pgqueue.rate_limits AS number
    WHERE number.key = %(key)s::text
    ORDER BY number.era DESC
    LIMIT 1
),
over AS (
    DELETE FROM pgqueue.rate_limits
    WHERE ctid = (SELECT place FROM held WHERE NOT lives)
)
INSERT INTO pgqueue.rate_limits (key, era, value, expires_at)
SELECT
    %(key)s::text,
    greatest((SELECT era FROM held) + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint),
    %(value)s::bigint, present.instant + %(ttl)s::interval
FROM present
WHERE NOT EXISTS (SELECT FROM held WHERE lives)
RETURNING true AS granted
