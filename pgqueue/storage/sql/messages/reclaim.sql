-- Takes the messages of a lost owner off its leases (all but %(keep)s) and makes them ready again in the open slot.
--
-- Each gets a new place: rows with an old xid would lie behind the positions of all fetchers. An attempt is charged
-- to %(charged)s, or, when nobody knows what ran (NULL), to the first %(threads)s messages that are open, in the order
-- in which a worker starts them: batch by batch, in each the urgent ones first. One that has been charged
-- %(max_attempts)s times has killed as many workers: it goes to the dead letters. Each charge leaves an attempt, with
-- %(lost)s as its error.
WITH lost AS (
    DELETE FROM pgqueue.leases
    WHERE owner = %(owner)s::uuid AND lid <> ALL (%(keep)s::bigint[])
    RETURNING slot, lid, ids, done
),
orphan AS MATERIALIZED (
    SELECT lost.slot, lost.lid, part.id, part.place
    FROM lost, unnest(lost.ids) WITH ORDINALITY AS part (id, place)
    WHERE part.id <> ALL (lost.done)
),
message AS MATERIALIZED (
    SELECT
        message.*,
        message.attempts + CASE
            WHEN %(charged)s::bigint[] IS NULL
                THEN (row_number() OVER (ORDER BY orphan.lid, lane.priority, orphan.place) <= %(threads)s)::integer
            ELSE (orphan.id = ANY (%(charged)s::bigint[]))::integer
        END AS charged_attempts
    FROM orphan
    JOIN pgqueue.messages AS message ON message.slot = orphan.slot AND message.id = orphan.id
    JOIN pgqueue.lanes AS lane ON lane.id = message.lane
),
attempted AS (
    INSERT INTO pgqueue.attempts
        (failed_at, message_id, lane, run_ms, slice, kind, actor_name, worker, error)
    SELECT
        now(), message.message_id, message.lane,
        CASE
            WHEN known.begun_at IS NOT NULL
                THEN least(greatest(extract(epoch FROM now() - known.begun_at) * 1000, 0), 2147483647)::integer
        END,
        (extract(epoch FROM now())::bigint / 86400 %% 16)::smallint, 'l', message.actor_name,
        (SELECT concat_ws(':', host, pid) FROM pgqueue.workers WHERE owner = %(owner)s::uuid), %(lost)s
    FROM message
    LEFT JOIN (
        SELECT part.id, part.begun_at
        FROM pgqueue.worker_states AS state, unnest(state.running, state.running_since) AS part (id, begun_at)
        WHERE state.owner = %(owner)s::uuid
    ) AS known ON known.id = message.id
    WHERE message.charged_attempts > message.attempts
),
buried AS (
    INSERT INTO pgqueue.dead_letters
        (enqueued_at, message_id, foreign_id, queue_name, priority, actor_name, attempts, reason, error, payload)
    SELECT
        message.enqueued_at, message.message_id, message.foreign_id, lane.queue_name, lane.priority,
        message.actor_name, message.charged_attempts, 'poison', %(error)s, message.payload
    FROM message
    JOIN pgqueue.lanes AS lane ON lane.id = message.lane
    WHERE message.charged_attempts >= %(max_attempts)s
    RETURNING message_id
),
finished AS (
    INSERT INTO pgqueue.outcomes
        (id, finished_at, message_id, lane, wait_ms, run_ms, slice, attempts, status, foreign_id, actor_name, error)
    SELECT
        id, now(), message_id, lane, 0, 0, (extract(epoch FROM now())::bigint / 7200 %% 16)::smallint,
        charged_attempts, 'f', foreign_id, actor_name, %(error)s
    FROM message
    WHERE charged_attempts >= %(max_attempts)s
),
present AS MATERIALIZED (
    SELECT pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot
    FROM pgqueue.open_slot
),
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), present.xid, ordered.enqueued_at, ordered.message_id, ordered.lane,
        present.slot, ordered.charged_attempts, ordered.foreign_id, ordered.actor_name, ordered.payload
    FROM present, (SELECT * FROM message ORDER BY xid, id) AS ordered
    WHERE ordered.charged_attempts < %(max_attempts)s
    RETURNING xid, id, lane, slot
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT xid, id, lane, slot
    FROM written
)
SELECT
    (SELECT count(*) FROM written)::integer AS returned,
    (SELECT count(*) FROM buried)::integer AS buried,
    (SELECT count(*) FROM lost)::integer AS leases
