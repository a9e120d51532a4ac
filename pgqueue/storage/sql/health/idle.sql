-- Sessions that hold a transaction open and do nothing.
SELECT
    pid, concat_ws(', ', nullif(usename, ''), nullif(application_name, '')) || ': ' || left(query, 200) AS detail,
    extract(epoch FROM clock_timestamp() - state_change)::double precision AS idle_s
FROM pg_stat_activity
WHERE datname = current_database()
    AND state LIKE 'idle in transaction%%'
    AND state_change < clock_timestamp() - %(longer_s)s * interval '1 second'
ORDER BY state_change
LIMIT 5
