-- Subtracts from a key's value, 0 where it does not exist or its time is over, unless the rest is below the
-- minimum. The mirror image of incr.sql, whose comments hold here, too.
INSERT INTO pgqueue.rate_limits AS held (key, value, expires_at)
VALUES (
    %(key)s::text,
    -%(amount)s::bigint,
    CASE
        WHEN -%(amount)s::bigint >= %(minimum)s::bigint
        THEN coalesce(%(now)s::timestamptz, clock_timestamp()) + %(ttl)s::interval
        ELSE '-infinity'
    END
)
ON CONFLICT (key) DO UPDATE
SET
    value = CASE
        WHEN held.expires_at > coalesce(%(now)s::timestamptz, clock_timestamp()) THEN held.value
        ELSE 0
    END - %(amount)s::bigint,
    expires_at = coalesce(%(now)s::timestamptz, clock_timestamp()) + %(ttl)s::interval
WHERE CASE
    WHEN held.expires_at > coalesce(%(now)s::timestamptz, clock_timestamp()) THEN held.value
    ELSE 0
END - %(amount)s::bigint >= %(minimum)s::bigint
RETURNING held.expires_at > '-infinity' AS granted
