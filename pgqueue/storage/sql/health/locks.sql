-- How many of the server's locks are taken, about how many it has room for, and who has the most. Locks of the fast path
-- take no room, and predicate locks have a table of their own; a prepared transaction has no pid.
WITH taken AS MATERIALIZED (
    SELECT
        pid,
        (locktype, database, relation, page, tuple, virtualxid, transactionid::text, classid, objid, objsubid) AS what
    FROM pg_locks
    WHERE NOT fastpath AND mode <> 'SIReadLock'
),
most AS (
    SELECT pid, count(*) AS locks
    FROM taken
    GROUP BY pid
    ORDER BY locks DESC
    LIMIT 1
)
SELECT
    (SELECT count(DISTINCT what) FROM taken)::integer AS taken,
    current_setting('max_locks_per_transaction')::integer * (
        current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer
        + current_setting('max_worker_processes')::integer + current_setting('max_wal_senders')::integer
        + current_setting('autovacuum_max_workers')::integer + 1
    ) AS room,
    most.locks::integer AS most,
    most.pid,
    coalesce(
        concat_ws(', ', nullif(holder.usename, ''), nullif(holder.application_name, '')) || ': ' || left(holder.query, 200),
        ''
    ) AS detail
FROM (VALUES (true)) AS once (here)
LEFT JOIN most ON true
LEFT JOIN pg_stat_activity AS holder ON holder.pid = most.pid
