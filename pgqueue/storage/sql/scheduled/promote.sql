-- Makes up to %(limit)s due messages ready, earliest first: those after the promoter's position, and those of the
-- transactions that were undecided when it passed (found by their xid).
WITH present AS MATERIALIZED (
    SELECT pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot
    FROM pgqueue.open_slot
),
due AS MATERIALIZED (
    SELECT ctid AS tid, due_at, id
    FROM pgqueue.scheduled
    WHERE (due_at, id) > (%(after_due_at)s::timestamptz, %(after_id)s::bigint) AND due_at <= statement_timestamp()
    ORDER BY due_at, id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
late AS MATERIALIZED (
    SELECT ctid AS tid
    FROM pgqueue.scheduled
    WHERE xid = ANY (%(xids)s::bigint[])
        AND (due_at, id) <= (%(after_due_at)s::timestamptz, %(after_id)s::bigint)
        AND due_at <= statement_timestamp()
    FOR UPDATE SKIP LOCKED
),
taken AS (
    DELETE FROM pgqueue.scheduled
    WHERE ctid = ANY (ARRAY(SELECT tid FROM due UNION ALL SELECT tid FROM late))
    RETURNING due_at, id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload
),
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), present.xid, ordered.due_at, ordered.message_id, ordered.lane, present.slot,
        ordered.attempts, ordered.foreign_id, ordered.actor_name, ordered.payload
    FROM present, (SELECT * FROM taken ORDER BY due_at, id) AS ordered
    RETURNING xid, id, lane, slot
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT xid, id, lane, slot
    FROM written
)
SELECT
    pg_current_snapshot()::text AS snapshot, statement_timestamp() AS instant,
    (SELECT count(*) FROM due)::integer AS due, (SELECT count(*) FROM written)::integer AS promoted,
    (SELECT due_at FROM due ORDER BY due_at DESC, id DESC LIMIT 1) AS last_due_at,
    (SELECT id FROM due ORDER BY due_at DESC, id DESC LIMIT 1) AS last_id,
    (SELECT xid FROM present) AS xid
