-- Acks, nacks and retries in one commit: takes settled messages off their leases, records what became of them and
-- writes what follows from them. Nothing happens for a message whose lease is no longer the caller's; the answer
-- lists those that were accepted.
--
-- A lease whose last message is settled is deleted, one with messages left gets them noted in done; both are found by
-- the index of lid, and so must not be found through the owner, whose dead leases pile up under a held snapshot. An
-- evacuated lease lives in another slot than the caller remembers: he tries again through leases/find.
--
-- Whoever waits for one of the results is told with the commit, each process once, with its tickets.
--
-- Most groups are acks alone. The parts for the rest are left out of the statement where nothing needs them: with all of
-- them, the server takes a millisecond to begin, which is what it takes for 200 acks.
--
-- The caller's word that a lease holds nothing else (closes) is only a hint: of another's settlement he believes in,
-- the transaction may have failed since. What decides is how many of its ids are done; so none may be noted twice (the
-- caller has each once in a group), and none that it does not hold, or the lease would end with others in it. All are
-- compared therefore, each time: what was sent on a connection that is lost may run at any time later, beside and after
-- what is sent again, and in other groups. If a single one of them is amiss, or if the conditions turn while the row is
-- waited for, neither CTE takes the lease, and the caller looks and sends again.
WITH settled AS MATERIALIZED (
    SELECT lid, id, closes, status, message_id::uuid AS message_id, foreign_id, lane, actor_name, attempts, wait_ms, run_ms, error
    FROM unnest(
        %(lids)s::bigint[], %(ids)s::bigint[], %(closes)s::boolean[], %(statuses)s::text[], %(keys)s::text[],
        %(foreign_ids)s::text[], %(lanes)s::integer[], %(actor_names)s::text[], %(attempts)s::smallint[],
        %(waits_ms)s::integer[], %(runs_ms)s::integer[], %(errors)s::text[]
    ) AS message (lid, id, closes, status, message_id, foreign_id, lane, actor_name, attempts, wait_ms, run_ms, error)
),
part AS MATERIALIZED (
    SELECT lid, bool_or(closes) AS closes, array_agg(id) AS ids
    FROM settled
    GROUP BY lid
),
--[ each slot: ,
closed_0 AS (
    DELETE FROM pgqueue.leases_0 AS lease
    USING part
    WHERE lease.lid = part.lid
        AND lease.lid = ANY (ARRAY(SELECT lid FROM part WHERE closes))
        AND lease.owner = %(owner)s::uuid
        AND cardinality(lease.ids) = cardinality(lease.done) + cardinality(part.ids)
        AND part.ids <@ lease.ids AND NOT part.ids && lease.done
    RETURNING lease.slot, lease.lid
),
marked_0 AS (
    UPDATE pgqueue.leases_0 AS lease
    SET done = lease.done || part.ids
    FROM part
    WHERE lease.lid = part.lid
        AND lease.lid = ANY (ARRAY(SELECT lid FROM part))
        AND lease.owner = %(owner)s::uuid
        AND NOT (part.closes AND cardinality(lease.ids) = cardinality(lease.done) + cardinality(part.ids))
        AND part.ids <@ lease.ids AND NOT part.ids && lease.done
    RETURNING lease.slot, lease.lid
)
--],
held AS (
    --[ each slot: UNION ALL
    SELECT slot, lid FROM closed_0 UNION ALL SELECT slot, lid FROM marked_0
    --]
),
accepted AS MATERIALIZED (
    SELECT held.slot, settled.*
    FROM settled
    JOIN held ON held.lid = settled.lid
),
present AS MATERIALIZED (
    SELECT
        pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot, clock_timestamp() AS instant,
        (extract(epoch FROM clock_timestamp())::bigint / 7200 %% 16)::smallint AS slice
    FROM pgqueue.open_slot
),
--[ with dead_letters
buried AS (
    INSERT INTO pgqueue.dead_letters
        (enqueued_at, message_id, foreign_id, queue_name, priority, actor_name, attempts, reason, error, traceback,
         payload)
    SELECT
        message.enqueued_at, message.message_id, message.foreign_id, lane.queue_name, lane.priority,
        message.actor_name, message.attempts, letter.reason, accepted.error, letter.traceback, message.payload
    FROM unnest(%(dead_ids)s::bigint[], %(dead_reasons)s::text[], %(dead_tracebacks)s::text[])
        AS letter (id, reason, traceback)
    JOIN accepted ON accepted.id = letter.id
    JOIN pgqueue.messages AS message ON message.slot = accepted.slot AND message.id = accepted.id
    JOIN pgqueue.lanes AS lane ON lane.id = message.lane
),
--]
--[ with failures
attempted AS (
    INSERT INTO pgqueue.attempts
        (failed_at, message_id, lane, wait_ms, run_ms, retries, slice, kind, actor_name, worker, error, traceback)
    SELECT
        present.instant, accepted.message_id, accepted.lane, accepted.wait_ms, accepted.run_ms, failure.retries,
        (extract(epoch FROM present.instant)::bigint / 86400 %% 16)::smallint,
        CASE WHEN accepted.status IS NULL THEN 'r' ELSE 'f' END::"char", accepted.actor_name,
        (SELECT concat_ws(':', host, pid) FROM pgqueue.workers WHERE owner = %(owner)s::uuid), failure.error,
        failure.traceback
    FROM present, unnest(
        %(failed_ids)s::bigint[], %(failed_retries)s::integer[], %(failed_errors)s::text[],
        %(failed_tracebacks)s::text[]
    ) AS failure (id, retries, error, traceback)
    JOIN accepted ON accepted.id = failure.id
),
--]
--[ with results
stored AS (
    INSERT INTO pgqueue.results (stored_at, expires_at, slice, key, value)
    SELECT
        present.instant, present.instant + result.ttl_ms * interval '1 millisecond',
        CASE
            WHEN result.ttl_ms <= 7200000
                THEN (extract(epoch FROM present.instant) + result.ttl_ms / 1000)::bigint / 600 %% 16
            WHEN result.ttl_ms <= 1036800000
                THEN 16 + (extract(epoch FROM present.instant) + result.ttl_ms / 1000)::bigint / 86400 %% 16
            ELSE 32
        END,
        result.key, result.value
    FROM present, unnest(
        %(result_ids)s::bigint[], %(result_keys)s::text[], %(result_values)s::bytea[],
        %(result_ttls_ms)s::double precision[]
    ) AS result (id, key, value, ttl_ms)
    JOIN accepted ON accepted.id = result.id
),
called AS (
    SELECT CASE WHEN pg_notification_queue_usage() < 0.9 THEN pg_notify(wait.channel, left(string_agg(wait.ticket::text, ' '), 7999)) END
    FROM unnest(%(result_keys)s::text[]) AS result (key)
    JOIN pgqueue.waits AS wait ON wait.key = result.key
    GROUP BY wait.channel
),
--]
--[ with follow_ups
new AS MATERIALIZED (
    SELECT
        message.lane, message.key::uuid AS message_id, message.foreign_id, message.actor_name, message.payload,
        coalesce(
            to_timestamp(message.eta_ms / 1000.0), present.instant + message.delay_ms * interval '1 millisecond'
        ) AS due_at
    FROM present, unnest(
        %(new_parents)s::bigint[], %(new_lanes)s::integer[], %(new_keys)s::text[], %(new_foreign_ids)s::text[],
        %(new_actor_names)s::text[], %(new_payloads)s::bytea[], %(new_delays_ms)s::double precision[],
        %(new_etas_ms)s::double precision[]
    ) AS message (parent, lane, key, foreign_id, actor_name, payload, delay_ms, eta_ms)
    JOIN accepted ON accepted.id = message.parent
),
written AS (
    INSERT INTO pgqueue.messages
        (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), present.xid, present.instant, new.message_id, new.lane, present.slot, 0,
        new.foreign_id, new.actor_name, new.payload
    FROM present, new
    WHERE new.due_at IS NULL OR new.due_at <= present.instant
    RETURNING xid, id, lane, slot
),
readied AS (
    INSERT INTO pgqueue.ready (xid, id, lane, slot)
    SELECT xid, id, lane, slot
    FROM written
),
delayed AS (
    INSERT INTO pgqueue.scheduled
        (id, xid, due_at, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), present.xid, new.due_at, present.instant, new.message_id, new.lane, 0,
        new.foreign_id, new.actor_name, new.payload
    FROM present, new
    WHERE new.due_at > present.instant
),
told AS (
    SELECT pg_notify(%(channel)s, split_part(register.name, '.', -1))
    FROM unnest(%(registers)s::text[]) AS register (name)
    WHERE pg_sequence_last_value(register.name::regclass) > extract(epoch FROM clock_timestamp()) * 1000
        AND pg_notification_queue_usage() < 0.9
),
--]
finished AS (
    INSERT INTO pgqueue.outcomes
        (id, finished_at, message_id, lane, wait_ms, run_ms, slice, attempts, status, foreign_id, actor_name, error)
    SELECT
        accepted.id, present.instant, accepted.message_id, accepted.lane, accepted.wait_ms, accepted.run_ms,
        present.slice, accepted.attempts, accepted.status::"char", accepted.foreign_id, accepted.actor_name,
        accepted.error
    FROM accepted, present
    WHERE accepted.status IS NOT NULL
)
SELECT
    lid, id
    --[ with results
    , (SELECT count(*) FROM called) AS called
    --]
    --[ with follow_ups
    , (SELECT count(*) FROM told) AS told
    --]
FROM accepted
