-- Whether a queue holds anything that is ready, in progress or scheduled, in one snapshot. The ids in progress are
-- gathered first: joined to messages, they could be looked up by a plan that reads all messages for each.
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
    EXISTS (SELECT FROM pgqueue.ready WHERE lane = ANY ((SELECT ids FROM lane)::integer[]))
    OR EXISTS (SELECT FROM pgqueue.parked WHERE lane = ANY ((SELECT ids FROM lane)::integer[]))
    OR EXISTS (SELECT FROM pgqueue.scheduled WHERE lane = ANY ((SELECT ids FROM lane)::integer[]))
    OR EXISTS (
        SELECT
        FROM pgqueue.messages
        WHERE id = ANY ((SELECT ids FROM held)::bigint[]) AND lane = ANY ((SELECT ids FROM lane)::integer[])
    ) AS busy
