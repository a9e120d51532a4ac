-- Makes dead letters ready again, with the payloads that the caller has made of theirs: all that are still there.
WITH present AS MATERIALIZED (
    SELECT
        pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot, clock_timestamp() AS instant
    FROM pgqueue.open_slot
),
chosen AS MATERIALIZED (
    SELECT id
    FROM pgqueue.dead_letters AS letter
    WHERE id = ANY (%(ids)s::bigint[])
        AND EXISTS (
            SELECT FROM pgqueue.lanes WHERE queue_name = letter.queue_name AND priority = letter.priority
        )
    ORDER BY id
    FOR UPDATE SKIP LOCKED
),
taken AS (
    DELETE FROM pgqueue.dead_letters
    WHERE id IN (SELECT id FROM chosen)
    RETURNING id, message_id, foreign_id, queue_name, priority, actor_name
),
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), present.xid, present.instant, letter.message_id, letter.lane, present.slot, 0,
        letter.foreign_id, letter.actor_name, letter.payload
    FROM present, (
        SELECT taken.message_id, taken.foreign_id, taken.actor_name, lane.id AS lane, new.payload
        FROM taken
        JOIN unnest(%(ids)s::bigint[], %(payloads)s::bytea[]) AS new (id, payload) ON new.id = taken.id
        JOIN pgqueue.lanes AS lane ON lane.queue_name = taken.queue_name AND lane.priority = taken.priority
        ORDER BY taken.id
    ) AS letter
    RETURNING xid, id, lane, slot
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT xid, id, lane, slot
    FROM written
)
SELECT count(*)::integer AS requeued FROM written
