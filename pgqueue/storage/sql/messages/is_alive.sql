-- Whether any row of a message can still run: it is ready, parked, scheduled or held by a worker.
WITH message AS MATERIALIZED (
    SELECT slot, id, xid, lane
    FROM pgqueue.messages
    WHERE message_id = %(key)s::uuid
)
SELECT EXISTS (
    SELECT FROM message JOIN pgqueue.leases AS lease ON lease.slot = message.slot
    WHERE message.id = ANY (lease.ids) AND message.id <> ALL (lease.done)
) OR EXISTS (
    SELECT FROM message JOIN pgqueue.ready ON ready.slot = message.slot
    WHERE ready.lane = message.lane AND ready.xid = message.xid AND ready.id = message.id
)
OR EXISTS (SELECT FROM pgqueue.parked WHERE message_id = %(key)s::uuid)
OR EXISTS (SELECT FROM pgqueue.scheduled WHERE message_id = %(key)s::uuid) AS alive
