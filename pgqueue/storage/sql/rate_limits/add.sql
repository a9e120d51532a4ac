-- Sets a key that does not exist, or whose time is over; a row comes back if it was set.
INSERT INTO pgqueue.rate_limits AS held (key, value, expires_at)
VALUES (
    %(key)s::text,
    %(value)s::bigint,
    coalesce(%(now)s::timestamptz, clock_timestamp()) + %(ttl)s::interval
)
ON CONFLICT (key) DO UPDATE
SET value = excluded.value, expires_at = excluded.expires_at
WHERE held.expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
RETURNING true AS granted
