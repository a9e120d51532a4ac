-- Ready (with those in progress), scheduled and dead messages of a queue, in one snapshot.
WITH lane AS MATERIALIZED (
    SELECT id
    FROM pgqueue.lanes
    WHERE queue_name = %(queue_name)s
)
SELECT
    (SELECT count(*) FROM pgqueue.ready WHERE lane IN (SELECT id FROM lane)) AS ready,
    (
        SELECT count(*)
        FROM pgqueue.leases AS lease, unnest(lease.ids) AS part (id)
        JOIN pgqueue.messages AS message ON message.id = part.id
        WHERE message.slot = lease.slot AND part.id <> ALL (lease.done) AND message.lane IN (SELECT id FROM lane)
    ) AS leased,
    (SELECT count(*) FROM pgqueue.scheduled WHERE lane IN (SELECT id FROM lane)) AS scheduled,
    (SELECT count(*) FROM pgqueue.dead_letters WHERE queue_name = %(queue_name)s) AS dead
