-- How long messages waited and ran, in some blocks of a few slices: by queue and actor, and by queue alone (no actor).
SELECT
    lane.queue_name, outcome.actor_name, count(*) AS count,
    count(*) FILTER (WHERE outcome.status = 'f') AS failed,
    count(*) FILTER (WHERE outcome.status = 'c') AS cancelled,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY outcome.wait_ms) AS wait_ms,
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY outcome.run_ms) AS run_ms,
    max(outcome.finished_at) AS last_at
FROM (
    --[ each slot: UNION ALL
    SELECT part.finished_at, part.lane, part.actor_name, part.status, part.wait_ms, part.run_ms
    FROM unnest(%(blocks_0)s::bigint[]) AS block (number)
    CROSS JOIN LATERAL (
        SELECT finished_at, lane, actor_name, status, wait_ms, run_ms
        FROM pgqueue.outcomes_0
        WHERE ctid >= format('(%%s,0)', block.number)::tid AND ctid < format('(%%s,0)', block.number + 1)::tid
        OFFSET 0
    ) AS part
    --]
) AS outcome
JOIN pgqueue.lanes AS lane ON lane.id = outcome.lane
WHERE outcome.finished_at >= to_timestamp(%(since_s)s)
GROUP BY GROUPING SETS ((lane.queue_name, outcome.actor_name), (lane.queue_name))
ORDER BY lane.queue_name, outcome.actor_name NULLS FIRST
