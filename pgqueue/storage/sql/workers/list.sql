-- Everybody who claims, what he has said of himself and was ordered, and how many messages he holds.
WITH held AS MATERIALIZED (
    SELECT lease.owner, sum(cardinality(lease.ids) - cardinality(lease.done)) AS count
    FROM pgqueue.leases AS lease
    GROUP BY lease.owner
)
SELECT
    worker.owner, worker.host, worker.pid, worker.threads::integer AS threads, worker.started_at, worker.seen_at,
    extract(epoch FROM clock_timestamp() - worker.seen_at)::double precision AS silent_s,
    extract(epoch FROM clock_timestamp() - worker.started_at)::double precision AS up_s,
    coalesce(held.count, 0)::integer AS held, state.queues, state.actors,
    coalesce(state.running, '{}') AS running, coalesce(state.running_since, '{}') AS running_since,
    worker.process, coalesce(state.state, 'working') AS state, state.memory_bytes, standing.verb AS ordered
FROM pgqueue.workers AS worker
LEFT JOIN pgqueue.worker_states AS state ON state.owner = worker.owner
LEFT JOIN pgqueue.worker_orders AS standing ON standing.process = worker.process
LEFT JOIN held ON held.owner = worker.owner
ORDER BY worker.host, worker.pid, worker.started_at
