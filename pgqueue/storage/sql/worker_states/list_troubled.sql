-- Workers that are alive and say that something fails, or has failed, in their process.
SELECT
    worker.host, worker.pid, coalesce(state.faults -> 'duties', '{}') AS duties,
    coalesce(state.faults -> 'recent', '{}') AS recent
FROM pgqueue.worker_states AS state
JOIN pgqueue.workers AS worker ON worker.owner = state.owner
WHERE state.faults IS NOT NULL AND worker.seen_at > statement_timestamp() - interval '10 seconds'
ORDER BY worker.host, worker.pid, worker.started_at
