-- Writes messages: those that are due become ready in the open slot, the others wait in scheduled.
--
-- The transaction's id is fixed before the first message id is drawn: a fetcher that has seen message_seq move knows
-- then that the transaction is in its snapshot or finished. Workers are told only while one of them is idle, because
-- every transaction that notifies takes a lock of the whole cluster at its commit; and they are told the name of the
-- register, without its schema, so that only those look who serve a queue of that. In an application's transaction, whose
-- commit may be long in coming, it is not this statement that looks for idle workers (%(registers)s is empty), but a
-- trigger at the commit: once for each row of ready that has an idle_cell. Where the server's queue of notifications is
-- nearly full, because a session listens and does not read, nobody is told, here as in all statements of ours: a full one
-- would fail the commit, and workers look by themselves.
--
-- Nothing is written where the lanes' numbers are another server's than this one's, or another table's: after a failover
-- to one that lagged behind, or a restore, they may mean nothing here, or another queue. The answer says which.
WITH present AS MATERIALIZED (
    SELECT pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot, clock_timestamp() AS instant
    FROM pgqueue.open_slot
    WHERE %(origin)s::text IS NULL
        OR %(origin)s::text
            = concat_ws('/', extract(epoch FROM pg_postmaster_start_time()), 'pgqueue.lanes'::regclass::oid)
),
new AS MATERIALIZED (
    SELECT
        nextval('pgqueue.message_seq') AS id, present.xid, present.slot, present.instant, message.lane,
        message.key::uuid AS message_id, message.foreign_id, message.actor_name, message.payload, message.idle_cell,
        coalesce(
            to_timestamp(message.eta_ms / 1000.0), present.instant + message.delay_ms * interval '1 millisecond'
        ) AS due_at
    FROM present, unnest(
        %(lanes)s::integer[], %(keys)s::text[], %(foreign_ids)s::text[], %(actor_names)s::text[], %(payloads)s::bytea[],
        %(delays_ms)s::double precision[], %(etas_ms)s::double precision[], %(idle_cells)s::smallint[]
    ) AS message (lane, key, foreign_id, actor_name, payload, delay_ms, eta_ms, idle_cell)
),
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT id, xid, instant, message_id, lane, slot, 0, foreign_id, actor_name, payload
    FROM new
    WHERE due_at IS NULL OR due_at <= instant
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot, idle_cell)
    SELECT xid, id, lane, slot, idle_cell
    FROM new
    WHERE due_at IS NULL OR due_at <= instant
),
delayed AS (
    INSERT INTO pgqueue.scheduled
        (id, xid, due_at, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
    SELECT id, xid, due_at, instant, message_id, lane, 0, foreign_id, actor_name, payload
    FROM new
    WHERE due_at > instant
)
SELECT
    true AS is_written,
    CASE
        WHEN %(announce)s::text IS NOT NULL AND pg_notification_queue_usage() < 0.9
        THEN pg_notify(%(channel)s, %(announce)s::text)
    END AS announced,
    (
        SELECT count(pg_notify(%(channel)s, split_part(register.name, '.', -1)))
        FROM unnest(%(registers)s::text[]) AS register (name)
        WHERE %(announce)s::text IS NULL
            AND pg_sequence_last_value(register.name::regclass) > extract(epoch FROM clock_timestamp()) * 1000
            AND pg_notification_queue_usage() < 0.9
    ) AS called
FROM present
