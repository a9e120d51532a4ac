-- Makes up to %(limit)s parked messages of an actor ready again, in the order in which they had been, if it is not
-- paused. Each gets a new place: its old one lies behind the positions of all fetchers.
WITH present AS MATERIALIZED (
    SELECT pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot
    FROM pgqueue.open_slot
),
chosen AS MATERIALIZED (
    SELECT ctid AS tid
    FROM pgqueue.parked
    WHERE actor_name = %(actor_name)s
        AND NOT EXISTS (SELECT FROM pgqueue.pauses WHERE kind = 'actor' AND name = %(actor_name)s)
    ORDER BY id
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
),
taken AS (
    DELETE FROM pgqueue.parked
    WHERE ctid = ANY (ARRAY(SELECT tid FROM chosen))
    RETURNING id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload
),
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), present.xid, ordered.enqueued_at, ordered.message_id, ordered.lane,
        present.slot, ordered.attempts, ordered.foreign_id, ordered.actor_name, ordered.payload
    FROM present, (SELECT * FROM taken ORDER BY id) AS ordered
    RETURNING xid, id, lane, slot
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT xid, id, lane, slot
    FROM written
)
SELECT count(*)::integer AS released FROM written
