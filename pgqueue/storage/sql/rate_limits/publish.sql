-- Makes an event visible for a while; one that is visible already stays so for longer.
INSERT INTO pgqueue.rate_limits AS held (key, value, expires_at)
VALUES (
    %(key)s::text,
    1,
    coalesce(%(now)s::timestamptz, clock_timestamp()) + %(ttl)s::interval
)
ON CONFLICT (key) DO UPDATE
SET expires_at = greatest(held.expires_at, excluded.expires_at)
