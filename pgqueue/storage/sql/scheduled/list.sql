-- Messages that are not due yet, the next first.
SELECT
    scheduled.due_at, scheduled.id, scheduled.message_id::text AS message_id, scheduled.foreign_id, lane.queue_name,
    lane.priority, scheduled.actor_name, scheduled.attempts::integer AS attempts,
    CASE
        WHEN cardinality(%(needles)s::text[]) = 0 THEN true
        ELSE EXISTS (
            SELECT
            FROM unnest(%(needles)s::text[]) AS needle (text)
            WHERE strpos(lower(encode(substr(scheduled.payload, 1, %(most_bytes)s), 'escape') COLLATE "C"), needle.text) > 0
        )
    END AS found
FROM pgqueue.scheduled
JOIN pgqueue.lanes AS lane ON lane.id = scheduled.lane
WHERE (scheduled.due_at, scheduled.id) > (%(after_due_at)s::timestamptz, %(after_id)s::bigint)
ORDER BY scheduled.due_at, scheduled.id
LIMIT %(limit)s
