-- Keeps a result outside of any ack, and tells those who wait for it.
WITH stored AS (
    INSERT INTO pgqueue.results (stored_at, expires_at, slice, key, value)
    SELECT
        clock_timestamp(), clock_timestamp() + %(ttl_ms)s * interval '1 millisecond',
        CASE
            WHEN %(ttl_ms)s <= 7200000
                THEN (extract(epoch FROM clock_timestamp()) + %(ttl_ms)s / 1000)::bigint / 600 %% 16
            WHEN %(ttl_ms)s <= 1036800000
                THEN 16 + (extract(epoch FROM clock_timestamp()) + %(ttl_ms)s / 1000)::bigint / 86400 %% 16
            ELSE 32
        END,
        %(key)s, %(value)s
)
SELECT count(CASE WHEN pg_notification_queue_usage() < 0.9 THEN pg_notify(wait.channel, wait.ticket::text) END) AS told
FROM pgqueue.waits AS wait
WHERE wait.key = %(key)s
