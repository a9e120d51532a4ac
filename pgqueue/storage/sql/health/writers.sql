-- Open transactions that have written something, the oldest first: an enqueue of theirs is not visible yet.
SELECT
    pid, concat_ws(', ', nullif(usename, ''), nullif(application_name, '')) AS detail,
    extract(epoch FROM clock_timestamp() - xact_start)::double precision AS age_s
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
ORDER BY xact_start
LIMIT 5
