-- Every registered worker, how long it has been silent, and whether a session holds its lock.
SELECT
    worker.host, worker.pid,
    extract(epoch FROM clock_timestamp() - worker.seen_at)::double precision AS silent_s,
    EXISTS (
        SELECT
        FROM pg_locks AS held
        WHERE held.locktype = 'advisory'
            AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND held.objsubid = 1
            AND held.granted
            AND held.classid::bigint = (worker.lock_key >> 32) & 4294967295
            AND held.objid::bigint = worker.lock_key & 4294967295
    ) AS listens
FROM pgqueue.workers AS worker
ORDER BY worker.host, worker.pid, worker.started_at
