-- Messages of paused actors, actor by actor.
SELECT
    parked.actor_name, parked.id, parked.message_id::text AS message_id, parked.foreign_id, lane.queue_name,
    lane.priority, parked.attempts::integer AS attempts, parked.parked_at,
    CASE
        WHEN cardinality(%(needles)s::text[]) = 0 THEN true
        ELSE EXISTS (
            SELECT
            FROM unnest(%(needles)s::text[]) AS needle (text)
            WHERE strpos(lower(encode(substr(parked.payload, 1, %(most_bytes)s), 'escape') COLLATE "C"), needle.text) > 0
        )
    END AS found
FROM pgqueue.parked
JOIN pgqueue.lanes AS lane ON lane.id = parked.lane
WHERE (parked.actor_name, parked.id) > (%(after_actor)s, %(after_id)s)
ORDER BY parked.actor_name, parked.id
LIMIT %(limit)s
