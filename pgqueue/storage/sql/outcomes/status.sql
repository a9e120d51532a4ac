-- What is known of a message. Each of its rows is looked up by the index of its id; the most alive one counts: it is
-- running, ready, scheduled, or else what became of it last.
WITH message AS MATERIALIZED (
    SELECT slot, id, xid, lane
    FROM pgqueue.messages
    WHERE message_id = %(key)s::uuid
)
SELECT CASE
    WHEN EXISTS (
        SELECT FROM message JOIN pgqueue.leases AS lease ON lease.slot = message.slot
        WHERE message.id = ANY (lease.ids) AND message.id <> ALL (lease.done)
    ) THEN 'running'
    WHEN EXISTS (
        SELECT FROM message JOIN pgqueue.ready ON ready.slot = message.slot
        WHERE ready.lane = message.lane AND ready.xid = message.xid AND ready.id = message.id
    ) THEN 'queued'
    WHEN EXISTS (SELECT FROM pgqueue.parked WHERE message_id = %(key)s::uuid) THEN 'queued'
    WHEN EXISTS (SELECT FROM pgqueue.scheduled WHERE message_id = %(key)s::uuid) THEN 'scheduled'
    ELSE coalesce(
        (
            SELECT CASE status WHEN 'd' THEN 'done' WHEN 'f' THEN 'failed' ELSE 'cancelled' END
            FROM pgqueue.outcomes
            WHERE message_id = %(key)s::uuid
            ORDER BY finished_at DESC
            LIMIT 1
        ),
        (SELECT 'failed' FROM pgqueue.dead_letters WHERE message_id = %(key)s::uuid LIMIT 1),
        'unknown'
    )
END AS status
