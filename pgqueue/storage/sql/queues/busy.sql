-- Whether a queue holds anything that is ready, in progress or scheduled, in one snapshot.
WITH lane AS MATERIALIZED (
    SELECT id
    FROM pgqueue.lanes
    WHERE queue_name = %(queue_name)s
)
SELECT
    EXISTS (SELECT FROM pgqueue.ready WHERE lane IN (SELECT id FROM lane))
    OR EXISTS (SELECT FROM pgqueue.scheduled WHERE lane IN (SELECT id FROM lane))
    OR EXISTS (
        SELECT
        FROM pgqueue.leases AS lease, unnest(lease.ids) AS part (id)
        JOIN pgqueue.messages AS message ON message.id = part.id
        WHERE message.slot = lease.slot AND part.id <> ALL (lease.done) AND message.lane IN (SELECT id FROM lane)
    ) AS busy
