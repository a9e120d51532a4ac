-- Deletes rows whose time is over, any of them: they are equal, so there is no order. There is no index on
-- expires_at either, as it would keep every update from being HOT. A key that somebody has locked is skipped; one that
-- somebody has changed just before it was locked here is looked at again by the DELETE.
DELETE FROM pgqueue.rate_limits
WHERE ctid = ANY (ARRAY(
        SELECT ctid
        FROM (
            SELECT ctid, key
            FROM pgqueue.rate_limits
            WHERE expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
            LIMIT %(limit)s::bigint
        ) AS over
        WHERE pg_try_advisory_xact_lock(hashtextextended(key, 'pgqueue.rate_limits'::regclass::oid::bigint))
    ))
    AND expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
