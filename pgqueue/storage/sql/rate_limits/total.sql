-- The sum over those of the keys whose time is not over.
SELECT coalesce(sum(value), 0)::bigint AS total
FROM pgqueue.rate_limits
WHERE key = ANY(%(keys)s::text[])
    AND expires_at > coalesce(%(now)s::timestamptz, clock_timestamp())
