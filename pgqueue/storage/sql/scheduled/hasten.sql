-- Makes a scheduled message ready now, whenever it was due.
WITH present AS MATERIALIZED (
    SELECT
        pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot, clock_timestamp() AS instant
    FROM pgqueue.open_slot
),
taken AS (
    DELETE FROM pgqueue.scheduled
    WHERE message_id = %(key)s::uuid
    RETURNING message_id, lane, attempts, foreign_id, actor_name, payload
),
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), present.xid, present.instant, taken.message_id, taken.lane, present.slot,
        taken.attempts, taken.foreign_id, taken.actor_name, taken.payload
    FROM present, taken
    RETURNING xid, id, lane, slot
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT xid, id, lane, slot
    FROM written
)
SELECT count(*)::integer AS hastened FROM written
