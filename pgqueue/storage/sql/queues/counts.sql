-- Ready (parked ones count), held, scheduled and dead messages of a queue, in one snapshot. As in queues/busy the ids in progress are
-- gathered first; a message that was moved with its lease lies in two slots for a while and counts once.
WITH lane AS MATERIALIZED (
    SELECT array_agg(id) AS ids
    FROM pgqueue.lanes
    WHERE queue_name = %(queue_name)s
),
held AS MATERIALIZED (
    SELECT array_agg(part.id) AS ids
    FROM pgqueue.leases AS lease, unnest(lease.ids) AS part (id)
    WHERE part.id <> ALL (lease.done)
)
SELECT
    (SELECT count(*) FROM pgqueue.ready WHERE lane = ANY ((SELECT ids FROM lane)::integer[]))
        + (SELECT count(*) FROM pgqueue.parked WHERE lane = ANY ((SELECT ids FROM lane)::integer[])) AS ready,
    (
        SELECT count(DISTINCT id)
        FROM pgqueue.messages
        WHERE id = ANY ((SELECT ids FROM held)::bigint[]) AND lane = ANY ((SELECT ids FROM lane)::integer[])
    ) AS leased,
    (SELECT count(*) FROM pgqueue.scheduled WHERE lane = ANY ((SELECT ids FROM lane)::integer[])) AS scheduled,
    (SELECT count(*) FROM pgqueue.dead_letters WHERE queue_name = %(queue_name)s) AS dead
