-- The server in a few figures.
SELECT
    current_setting('server_version_num')::integer AS version,
    current_setting('server_version') AS version_text,
    current_setting('fsync') = 'on' AS fsync,
    current_setting('full_page_writes') = 'on' AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
    pg_notification_queue_usage() AS notify_usage,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer AS connections,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('transaction_read_only') = 'on' AS read_only,
    extract(epoch FROM clock_timestamp())::double precision AS clock_s
