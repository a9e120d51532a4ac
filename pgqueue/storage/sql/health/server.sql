-- The server in a few figures. Of sessions of other roles, a role without pg_read_all_stats sees who they are, not of
-- which type: those with a user and a database are clients, or helpers of one for a moment.
SELECT
    current_setting('server_version_num')::integer AS version,
    current_setting('server_version') AS version_text,
    current_setting('fsync') = 'on' AS fsync,
    current_setting('full_page_writes') = 'on' AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
    pg_notification_queue_usage() AS notify_usage,
    (
        SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend'
            OR (backend_type IS NULL AND usesysid IS NOT NULL AND datid IS NOT NULL)
    )::integer AS connections,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('transaction_read_only') = 'on' AS read_only,
    extract(epoch FROM clock_timestamp())::double precision AS clock_s
