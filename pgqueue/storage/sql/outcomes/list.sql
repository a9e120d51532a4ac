-- Ends of messages in some blocks of a slice, the youngest first: rows lie in the order of their commits, near enough,
-- and there is no index by time, which every ack would have to pay for. What they were called with is kept of those
-- that have failed alone, among the dead letters.
SELECT
    (outcome.ctid::text::point)[0]::bigint AS block, (outcome.ctid::text::point)[1]::integer AS line,
    outcome.message_id::text AS message_id, outcome.foreign_id, lane.queue_name, lane.priority, outcome.actor_name,
    outcome.attempts::integer AS attempts, outcome.status::text AS status, outcome.finished_at, outcome.wait_ms,
    outcome.run_ms, outcome.error
FROM pgqueue.outcomes_0 AS outcome
JOIN pgqueue.lanes AS lane ON lane.id = outcome.lane
WHERE outcome.ctid >= %(from)s::tid
    AND outcome.ctid < %(until)s::tid
    AND outcome.status = ANY (%(statuses)s::"char"[])
    AND (%(queue_name)s::text IS NULL OR lane.queue_name = %(queue_name)s)
    AND (%(actor_name)s::text IS NULL OR outcome.actor_name = %(actor_name)s)
    AND (%(error)s::text IS NULL OR strpos(lower(coalesce(outcome.error, '')), lower(%(error)s)) > 0)
    AND CASE
        WHEN %(search)s::text IS NULL THEN true
        WHEN strpos(lower(coalesce(outcome.error, '')), lower(%(search)s)) > 0 THEN true
        WHEN outcome.status = 'f' THEN EXISTS (
            SELECT
            FROM pgqueue.dead_letters AS letter, unnest(%(needles)s::text[]) AS needle (text)
            WHERE letter.message_id = outcome.message_id
                AND strpos(lower(encode(substr(letter.payload, 1, %(most_bytes)s), 'escape') COLLATE "C"), needle.text) > 0
        )
        ELSE false
    END
ORDER BY outcome.ctid DESC
LIMIT %(limit)s
