-- Messages that workers hold, in the order of their ids; running_since only of those that have run for a moment.
-- found: whether the text that is looked for, if any, is in them; see storage/searching.py.
SELECT
    part.id, message.message_id::text AS message_id, message.foreign_id, lane.queue_name, lane.priority,
    message.actor_name, message.attempts::integer AS attempts, lease.claimed_at,
    state.running_since[array_position(state.running, part.id)] AS running_since,
    worker.host, worker.pid, message.found
FROM pgqueue.leases AS lease
CROSS JOIN LATERAL unnest(lease.ids) AS part (id)
CROSS JOIN LATERAL (
    SELECT
        message_id, foreign_id, lane, actor_name, attempts,
        CASE
            WHEN cardinality(%(needles)s::text[]) = 0 THEN true
            ELSE EXISTS (
                SELECT
                FROM unnest(%(needles)s::text[]) AS needle (text)
                WHERE strpos(lower(encode(substr(payload, 1, %(most_bytes)s), 'escape') COLLATE "C"), needle.text) > 0
            )
        END AS found
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
