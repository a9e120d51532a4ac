-- How full the server's tables of locks are, by the fuller one, and who has the most. One table has an entry for each
-- object that is locked, the other, which is twice as large, one for each object and who holds it or waits for it. In
-- PostgreSQL 15 to 18 there is room for max_locks_per_transaction * (MaxBackends + max_prepared_transactions) objects
-- (NLOCKENTS in storage/lmgr/lock.c), where MaxBackends is the sum of max_connections, max_worker_processes,
-- max_wal_senders, the workers of autovacuum (from 18 on autovacuum_worker_slots) and its launcher, from 17.3 on with
-- the worker that synchronizes slots (InitializeMaxBackends in utils/init/postinit.c). The server adds a tenth for safety.
--
-- Locks of the fast path take no room, and predicate locks have a table of their own. A prepared transaction has no pid.
WITH locked AS MATERIALIZED (
    SELECT
        pid,
        coalesce(pid::text, virtualtransaction) AS holder,
        (locktype, database, relation, page, tuple, virtualxid, transactionid::text, classid, objid, objsubid) AS what
    FROM pg_locks
    WHERE NOT fastpath AND mode <> 'SIReadLock'
),
taken AS MATERIALIZED (
    SELECT count(DISTINCT what)::integer AS objects, count(DISTINCT (holder, what))::integer AS holds
    FROM locked
),
server AS MATERIALIZED (
    SELECT current_setting('max_locks_per_transaction')::integer * (
        current_setting('max_connections')::integer + current_setting('max_prepared_transactions')::integer
        + current_setting('max_worker_processes')::integer + current_setting('max_wal_senders')::integer
        + coalesce(current_setting('autovacuum_worker_slots', true), current_setting('autovacuum_max_workers'))::integer
        + CASE WHEN current_setting('server_version_num')::integer >= 170003 THEN 2 ELSE 1 END
    ) AS room
),
most AS (
    SELECT pid, count(DISTINCT what) AS locks
    FROM locked
    GROUP BY holder, pid
    ORDER BY locks DESC
    LIMIT 1
)
SELECT
    CASE WHEN taken.objects * 2 >= taken.holds THEN taken.objects ELSE taken.holds END AS taken,
    CASE WHEN taken.objects * 2 >= taken.holds THEN server.room ELSE server.room * 2 END AS room,
    most.locks::integer AS most,
    most.pid,
    coalesce(
        concat_ws(', ', nullif(holder.usename, ''), nullif(holder.application_name, '')) || ': ' || left(holder.query, 200),
        ''
    ) AS detail
FROM taken
CROSS JOIN server
LEFT JOIN most ON true
LEFT JOIN pg_stat_activity AS holder ON holder.pid = most.pid
