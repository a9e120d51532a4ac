-- Workers that are alive, hold messages for a while and run fewer than they could: what they hold has ended and can't be
-- recorded, or whoever consumes it is stuck.
SELECT worker.host, worker.pid, count(*)::integer AS messages,
    extract(epoch FROM clock_timestamp() - min(lease.claimed_at))::double precision AS held_s
FROM pgqueue.leases AS lease
JOIN pgqueue.workers AS worker ON worker.owner = lease.owner
LEFT JOIN pgqueue.worker_states AS state ON state.owner = worker.owner
CROSS JOIN LATERAL unnest(lease.ids) AS held (id)
WHERE lease.claimed_at < statement_timestamp() - %(longer_s)s * interval '1 second'
    AND worker.seen_at > statement_timestamp() - interval '10 seconds'
    AND cardinality(coalesce(state.running, '{}')) < worker.threads
    AND held.id <> ALL (lease.done)
    AND held.id <> ALL (coalesce(state.running, '{}'))
GROUP BY worker.owner, worker.host, worker.pid
ORDER BY held_s DESC
LIMIT 5
