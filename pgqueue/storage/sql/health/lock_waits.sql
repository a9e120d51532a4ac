-- Who waits for a lock on a table of ours and who holds it, the longest wait first. Who waits for a row waits for a
-- transaction: then the table is one of ours of which the session has locked a row's place, or that it writes.
WITH ours AS MATERIALIZED (
    SELECT oid, relname
    FROM pg_class
    WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'pgqueue.slots'::regclass)
        AND relkind IN ('r', 'p')
),
wanted AS MATERIALIZED (
    SELECT
        pid, mode, waitstart,
        coalesce(
            (SELECT ours.relname FROM ours WHERE ours.oid = awaited.relation),
            (
                SELECT ours.relname
                FROM pg_locks AS held
                JOIN ours ON ours.oid = held.relation
                WHERE held.pid = awaited.pid AND awaited.locktype IN ('transactionid', 'tuple')
                    AND held.mode <> 'AccessShareLock'
                ORDER BY held.locktype = 'tuple' DESC, ours.relname
                LIMIT 1
            )
        ) AS table_name
    FROM pg_locks AS awaited
    WHERE NOT granted AND coalesce(database, 0) IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
)
SELECT
    wanted.pid, wanted.table_name::text AS table_name, wanted.mode,
    greatest(0, extract(epoch FROM clock_timestamp() - coalesce(wanted.waitstart, waiter.query_start)))::double precision
        AS waited_s,
    concat_ws(', ', nullif(waiter.usename, ''), nullif(waiter.application_name, '')) AS who,
    left(waiter.query, 300) AS query, blocker.pid AS blocker_pid,
    concat_ws(', ', nullif(holder.usename, ''), nullif(holder.application_name, '')) AS blocker_who,
    holder.state AS blocker_state, left(holder.query, 300) AS blocker_query,
    extract(epoch FROM clock_timestamp() - holder.xact_start)::double precision AS blocker_s
FROM wanted
JOIN pg_stat_activity AS waiter ON waiter.pid = wanted.pid AND waiter.datname = current_database()
CROSS JOIN LATERAL unnest(pg_blocking_pids(wanted.pid)) AS blocker (pid)
LEFT JOIN pg_stat_activity AS holder ON holder.pid = blocker.pid
WHERE wanted.table_name IS NOT NULL
ORDER BY waited_s DESC NULLS LAST
LIMIT 20
