-- How many messages ended, in some blocks of a slice: by block, bucket of time, queue and kind of end. The subquery is
-- kept apart by its OFFSET, so that each block is a range of tids of its own.
SELECT
    block.number, floor((extract(epoch FROM outcome.finished_at) - %(since_s)s) / %(width_s)s)::integer AS bucket,
    lane.queue_name, outcome.status::text AS status, count(*) AS count,
    extract(epoch FROM min(outcome.finished_at))::double precision AS first_s
FROM unnest(%(blocks)s::bigint[]) AS block (number)
CROSS JOIN LATERAL (
    SELECT finished_at, lane, status
    FROM pgqueue.outcomes_0
    WHERE ctid >= format('(%%s,0)', block.number)::tid AND ctid < format('(%%s,0)', block.number + 1)::tid
    OFFSET 0
) AS outcome
JOIN pgqueue.lanes AS lane ON lane.id = outcome.lane
WHERE outcome.finished_at >= to_timestamp(%(since_s)s)
GROUP BY block.number, bucket, lane.queue_name, outcome.status
ORDER BY block.number
