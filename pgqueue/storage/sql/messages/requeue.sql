-- Takes claimed messages off their leases, uncharged. With ready: they are ready again at once, in their old place.
-- With parked: they are put aside, out of the claims' way, because their actor is paused.
-- Ready ones move to the open slot because a slot's ready rows may only point at messages of the same slot. The caller
-- bumps rewind_seq after the commit, since the rows come back behind the positions of the others. What is settled
-- already stays so: the caller may not know, if the commit of an ack was the last that its connection did.
WITH given AS MATERIALIZED (
    SELECT lid, array_agg(id) AS ids
    FROM unnest(%(lids)s::bigint[], %(ids)s::bigint[]) AS message (lid, id)
    GROUP BY lid
),
held AS MATERIALIZED (
    SELECT lease.lid, lease.slot, lease.ids, lease.done, given.ids AS given
    FROM given
    JOIN pgqueue.leases AS lease ON lease.lid = given.lid
    WHERE lease.owner = %(owner)s::uuid
    FOR UPDATE OF lease
),
still_open AS MATERIALIZED (
    SELECT held.slot, held.lid, part.id
    FROM held, unnest(held.given) AS part (id)
    WHERE part.id = ANY (held.ids) AND part.id <> ALL (held.done)
),
returned AS MATERIALIZED (
    SELECT message.*, open_slot.last_value::smallint AS open_slot
    FROM pgqueue.open_slot, still_open
    JOIN pgqueue.messages AS message ON message.slot = still_open.slot AND message.id = still_open.id
),
--[ with ready
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT id, xid, enqueued_at, message_id, lane, open_slot, attempts, foreign_id, actor_name, payload
    FROM returned
    WHERE slot <> open_slot
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT xid, id, lane, open_slot
    FROM returned
),
--]
--[ with parked
parked AS (
    INSERT INTO pgqueue.parked (id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
    SELECT id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload
    FROM returned
),
--]
marked AS (
    UPDATE pgqueue.leases AS lease
    SET done = lease.done || part.ids
    FROM (SELECT slot, lid, array_agg(id) AS ids FROM still_open GROUP BY slot, lid) AS part
    WHERE lease.lid = part.lid AND lease.slot = part.slot
)
SELECT count(*) AS returned FROM returned
