-- Hands claimed messages back: they are ready again at once, in their old place, and no attempt is charged.
-- They move to the open slot because a slot's ready rows may only point at messages of the same slot. The caller
-- bumps rewind_seq after the commit, since the rows come back behind the positions of the others.
WITH given AS MATERIALIZED (
    SELECT lid, array_agg(id) AS ids
    FROM unnest(%(lids)s::bigint[], %(ids)s::bigint[]) AS message (lid, id)
    GROUP BY lid
),
marked AS (
    UPDATE pgqueue.leases AS lease
    SET done = lease.done || given.ids
    FROM given
    WHERE lease.lid = given.lid AND lease.owner = %(owner)s::uuid
    RETURNING lease.slot, lease.ids, given.ids AS returned
),
returned AS MATERIALIZED (
    SELECT message.*, open_slot.last_value::smallint AS open_slot
    FROM pgqueue.open_slot, marked, unnest(marked.returned) AS part (id)
    JOIN pgqueue.messages AS message ON message.id = part.id
    WHERE message.slot = marked.slot AND part.id = ANY (marked.ids)
),
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
)
SELECT count(*) AS returned FROM returned
