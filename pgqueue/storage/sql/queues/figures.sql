-- Every queue in figures, in one snapshot, at a cost that doesn't grow with the queues: nothing is counted beyond a
-- limit. The session has switched off plans that read more than that. There is no index of scheduled by lane: those
-- counted are among the next to come due in all queues.
WITH queue AS MATERIALIZED (
    SELECT queue_name, array_agg(id) AS lanes
    FROM pgqueue.lanes
    GROUP BY queue_name
),
held AS MATERIALIZED (
    SELECT array_agg(part.id) AS ids
    FROM pgqueue.leases AS lease, unnest(lease.ids) AS part (id)
    WHERE part.id <> ALL (lease.done)
),
leased AS MATERIALIZED (
    SELECT lane, count(DISTINCT id) AS count
    FROM pgqueue.messages
    WHERE id = ANY ((SELECT ids FROM held)::bigint[])
    GROUP BY lane
),
parked AS MATERIALIZED (
    SELECT first.lane, count(*) AS count
    FROM (SELECT lane FROM pgqueue.parked ORDER BY actor_name, id LIMIT %(most)s) AS first
    GROUP BY first.lane
),
scheduled AS MATERIALIZED (
    SELECT next.lane, count(*) AS count
    FROM (SELECT lane FROM pgqueue.scheduled ORDER BY due_at, id LIMIT %(most)s) AS next
    GROUP BY next.lane
)
SELECT
    queue.queue_name,
    (
        SELECT count(*)
        FROM (SELECT FROM pgqueue.ready WHERE lane = ANY (queue.lanes) LIMIT %(most)s) AS part
    ) AS ready,
    (SELECT coalesce(sum(count), 0)::bigint FROM leased WHERE lane = ANY (queue.lanes)) AS leased,
    (SELECT coalesce(sum(count), 0)::bigint FROM scheduled WHERE lane = ANY (queue.lanes)) AS scheduled,
    (
        SELECT count(*)
        FROM (SELECT FROM pgqueue.dead_letters WHERE queue_name = queue.queue_name LIMIT %(most)s) AS part
    ) AS dead,
    (
        SELECT greatest(0, extract(epoch FROM statement_timestamp() - min(message.enqueued_at)))::float8
        FROM unnest(queue.lanes) AS lane (id)
        CROSS JOIN LATERAL (
            SELECT id FROM pgqueue.ready WHERE lane = lane.id ORDER BY xid, id LIMIT 1
        ) AS first
        JOIN pgqueue.messages AS message ON message.id = first.id
        HAVING count(*) > 0
    ) AS oldest_age_s,
    (SELECT coalesce(sum(count), 0)::bigint FROM parked WHERE lane = ANY (queue.lanes)) AS parked
FROM queue
ORDER BY queue.queue_name
