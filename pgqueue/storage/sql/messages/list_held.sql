-- Messages that workers hold, in the order of their ids; running_since only of those that have run for a moment.
SELECT
    part.id, message.message_id::text AS message_id, message.foreign_id, lane.queue_name, lane.priority,
    message.actor_name, message.attempts::integer AS attempts, lease.claimed_at,
    state.running_since[array_position(state.running, part.id)] AS running_since,
    worker.host, worker.pid
FROM pgqueue.leases AS lease
CROSS JOIN LATERAL unnest(lease.ids) AS part (id)
CROSS JOIN LATERAL (
    SELECT message_id, foreign_id, lane, actor_name, attempts
    FROM pgqueue.messages
    WHERE slot = lease.slot AND id = part.id
    OFFSET 0
) AS message
JOIN pgqueue.lanes AS lane ON lane.id = message.lane
LEFT JOIN pgqueue.workers AS worker ON worker.owner = lease.owner
LEFT JOIN pgqueue.worker_states AS state ON part.id = ANY (state.running)
WHERE part.id <> ALL (lease.done) AND part.id > %(after_id)s
ORDER BY part.id
LIMIT %(limit)s
