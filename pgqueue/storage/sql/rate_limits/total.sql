-- The sum over those of the keys whose time is not over.
SELECT coalesce(sum(number.value), 0)::bigint AS total
FROM (SELECT DISTINCT key FROM unnest(%(keys)s::text[]) AS key) AS wanted,
    LATERAL (
        SELECT value, expires_at
        FROM pgqueue.rate_limits
        WHERE key = wanted.key
        ORDER BY era DESC
        LIMIT 1
    ) AS number
WHERE number.expires_at > coalesce(%(now)s::timestamptz, clock_timestamp())
