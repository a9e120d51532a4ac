-- Adds to a key's value, 0 where it does not exist or its time is over, unless the sum is above the maximum.
-- No row, or a false one, comes back for a refusal. Where a missing key can't take the amount, a row that has
-- expired already is written: deciding whether to insert before the row is locked would be a race.
-- The clock is read anew each time, for the statement may have waited for another's lock.
INSERT INTO pgqueue.rate_limits AS held (key, value, expires_at)
VALUES (
    %(key)s::text,
    %(amount)s::bigint,
    CASE
        WHEN %(amount)s::bigint <= %(maximum)s::bigint
        THEN coalesce(%(now)s::timestamptz, clock_timestamp()) + %(ttl)s::interval
        ELSE '-infinity'
    END
)
ON CONFLICT (key) DO UPDATE
SET
    value = %(amount)s::bigint + CASE
        WHEN held.expires_at > coalesce(%(now)s::timestamptz, clock_timestamp()) THEN held.value
        ELSE 0
    END,
    expires_at = coalesce(%(now)s::timestamptz, clock_timestamp()) + %(ttl)s::interval
WHERE %(amount)s::bigint + CASE
    WHEN held.expires_at > coalesce(%(now)s::timestamptz, clock_timestamp()) THEN held.value
    ELSE 0
END <= %(maximum)s::bigint
RETURNING held.expires_at > '-infinity' AS granted
