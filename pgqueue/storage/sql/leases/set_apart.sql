-- Moves one message off the lease of its batch onto one of its own: whoever keeps that locked until a commit keeps
-- nobody from acknowledging the rest of the batch. As of a claim, it does not matter if a crash of the server undoes it.
--
-- The new number is negative: reclaim takes the lowest for those that were running, and of this one it is known.
-- While the row was waited for, another settlement may have left nothing else in the batch, or something: then neither
-- CTE takes it, and the message stays where it is.
WITH hurry AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true) AS setting
),
closed AS (
    DELETE FROM pgqueue.leases AS lease
    USING hurry
    WHERE lease.lid = %(lid)s AND lease.owner = %(owner)s::uuid
        AND %(id)s = ANY (lease.ids) AND %(id)s <> ALL (lease.done)
        AND cardinality(lease.ids) = cardinality(lease.done) + 1
    RETURNING lease.slot, lease.owner, lease.claimed_at, lease.queue_name
),
marked AS (
    UPDATE pgqueue.leases AS lease
    SET done = lease.done || %(id)s::bigint
    FROM hurry
    WHERE lease.lid = %(lid)s AND lease.owner = %(owner)s::uuid
        AND %(id)s = ANY (lease.ids) AND %(id)s <> ALL (lease.done)
        AND cardinality(lease.ids) <> cardinality(lease.done) + 1
    RETURNING lease.slot, lease.owner, lease.claimed_at, lease.queue_name
),
batch AS (
    SELECT slot, owner, claimed_at, queue_name FROM closed
    UNION ALL
    SELECT slot, owner, claimed_at, queue_name FROM marked
)
INSERT INTO pgqueue.leases (lid, claimed_at, owner, slot, queue_name, ids)
SELECT -nextval('pgqueue.lease_seq'), claimed_at, owner, slot, queue_name, ARRAY[%(id)s::bigint]
FROM batch
RETURNING lid, slot::integer AS slot
