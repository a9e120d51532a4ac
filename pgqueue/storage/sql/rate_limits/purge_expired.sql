-- Deletes rows whose time is over, any of them: they are equal, so there is no order. There is no index on
-- expires_at either, as it would keep every update from being HOT. A row that somebody is writing is skipped.
DELETE FROM pgqueue.rate_limits
WHERE ctid = ANY(ARRAY(
    SELECT ctid
    FROM pgqueue.rate_limits
    WHERE expires_at <= coalesce(%(now)s::timestamptz, clock_timestamp())
    LIMIT %(limit)s::bigint
    FOR UPDATE SKIP LOCKED
))
