-- pgqueue's schema as the revisions in versions/ leave it. Made by `make schema`; don't edit.
-- Leaves of partitioned tables and registers are many and alike: only the first of each is shown.

CREATE SCHEMA pgqueue;

CREATE FUNCTION pgqueue.wake_idle_workers() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF pg_sequence_last_value(format('%I.idle_%s', TG_TABLE_SCHEMA, NEW.idle_cell)::regclass)
        > extract(epoch FROM clock_timestamp()) * 1000
        AND pg_notification_queue_usage() < 0.9
    THEN
        -- The workers' channel: <schema>, a colon, ready. A name that is too long for that has a checksum.
        PERFORM pg_notify(
            CASE
                WHEN length(TG_TABLE_SCHEMA) < 58 THEN concat_ws(chr(58), TG_TABLE_SCHEMA, 'ready')
                ELSE concat_ws(chr(58), left(TG_TABLE_SCHEMA, 48), TG_ARGV[0], 'ready')
            END,
            format('idle_%s', NEW.idle_cell)
        );
    END IF;
    RETURN NULL;
END
$$;

CREATE TABLE pgqueue.alembic_version (
    version_num character varying(32) NOT NULL
);

CREATE TABLE pgqueue.attempts (
    failed_at timestamp with time zone NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    wait_ms integer,
    run_ms integer,
    retries integer,
    slice smallint NOT NULL,
    kind "char" NOT NULL,
    actor_name text NOT NULL,
    worker text,
    error text,
    traceback text,
    CONSTRAINT attempts_kind_check CHECK ((kind = ANY (ARRAY['r'::"char", 'f'::"char", 'l'::"char"])))
)
PARTITION BY LIST (slice);

COMMENT ON TABLE pgqueue.attempts IS 'Failed attempts: r retried, f given up (see dead_letters), l worker lost.';

COMMENT ON COLUMN pgqueue.attempts.retries IS 'Failures before this one, as the Retries middleware counts them.';

CREATE TABLE pgqueue.attempts_0 (
    failed_at timestamp with time zone CONSTRAINT attempts_failed_at_not_null NOT NULL,
    message_id uuid CONSTRAINT attempts_message_id_not_null NOT NULL,
    lane integer CONSTRAINT attempts_lane_not_null NOT NULL,
    wait_ms integer,
    run_ms integer,
    retries integer,
    slice smallint CONSTRAINT attempts_slice_not_null NOT NULL,
    kind "char" CONSTRAINT attempts_kind_not_null NOT NULL,
    actor_name text CONSTRAINT attempts_actor_name_not_null NOT NULL,
    worker text,
    error text,
    traceback text,
    CONSTRAINT attempts_kind_check CHECK ((kind = ANY (ARRAY['r'::"char", 'f'::"char", 'l'::"char"])))
)
WITH (vacuum_truncate=off);

CREATE TABLE pgqueue.cancellations (
    message_id uuid NOT NULL,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    state text DEFAULT 'asked'::text NOT NULL,
    CONSTRAINT cancellations_state_check CHECK ((state = ANY (ARRAY['asked'::text, 'accepted'::text, 'refused'::text])))
);

COMMENT ON TABLE pgqueue.cancellations IS 'Messages that a worker held when they were to be cancelled.';

CREATE SEQUENCE pgqueue.catalog_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE pgqueue.dead_letters (
    id bigint NOT NULL,
    died_at timestamp with time zone DEFAULT now() NOT NULL,
    enqueued_at timestamp with time zone,
    message_id uuid NOT NULL,
    foreign_id text,
    queue_name text NOT NULL,
    priority integer NOT NULL,
    actor_name text NOT NULL,
    attempts smallint NOT NULL,
    reason text NOT NULL,
    error text,
    traceback text,
    payload bytea NOT NULL
);

COMMENT ON TABLE pgqueue.dead_letters IS 'Messages given up, with the bytes they were sent as and the reason.';

ALTER TABLE pgqueue.dead_letters ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgqueue.dead_letters_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE pgqueue.idle_0
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

CREATE TABLE pgqueue.lanes (
    id integer NOT NULL,
    queue_name text NOT NULL,
    priority integer NOT NULL
);

COMMENT ON TABLE pgqueue.lanes IS 'One row for each priority ever used in a queue; never updated.';

ALTER TABLE pgqueue.lanes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgqueue.lanes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE SEQUENCE pgqueue.lease_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE pgqueue.leases (
    lid bigint DEFAULT nextval('pgqueue.lease_seq'::regclass) NOT NULL,
    claimed_at timestamp with time zone DEFAULT now() NOT NULL,
    owner uuid NOT NULL,
    slot smallint NOT NULL,
    ids bigint[] NOT NULL,
    done bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    queue_name text
)
PARTITION BY LIST (slot);

COMMENT ON TABLE pgqueue.leases IS 'One row for each batch that a worker holds; done lists what it has settled.';

COMMENT ON COLUMN pgqueue.leases.queue_name IS 'Set if the queue had a limit when its messages were claimed; the lease holds none of another queue then.';

CREATE TABLE pgqueue.leases_0 (
    lid bigint DEFAULT nextval('pgqueue.lease_seq'::regclass) CONSTRAINT leases_lid_not_null NOT NULL,
    claimed_at timestamp with time zone DEFAULT now() CONSTRAINT leases_claimed_at_not_null NOT NULL,
    owner uuid CONSTRAINT leases_owner_not_null NOT NULL,
    slot smallint CONSTRAINT leases_slot_not_null NOT NULL,
    ids bigint[] CONSTRAINT leases_ids_not_null NOT NULL,
    done bigint[] DEFAULT '{}'::bigint[] CONSTRAINT leases_done_not_null NOT NULL,
    queue_name text
)
WITH (autovacuum_enabled=off, vacuum_truncate=off);

CREATE SEQUENCE pgqueue.message_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE pgqueue.messages (
    id bigint NOT NULL,
    xid bigint NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    slot smallint NOT NULL,
    attempts smallint NOT NULL,
    foreign_id text,
    actor_name text NOT NULL,
    payload bytea NOT NULL
)
PARTITION BY LIST (slot);

COMMENT ON TABLE pgqueue.messages IS 'Written once, never updated; space comes back when its slot is truncated.';

COMMENT ON COLUMN pgqueue.messages.xid IS 'Transaction in which it became ready; with id, its place in the lane.';

COMMENT ON COLUMN pgqueue.messages.attempts IS 'Earlier claims that were lost with their worker.';

COMMENT ON COLUMN pgqueue.messages.foreign_id IS 'The message id where it is not a UUID; message_id is then its MD5.';

CREATE TABLE pgqueue.messages_0 (
    id bigint CONSTRAINT messages_id_not_null NOT NULL,
    xid bigint CONSTRAINT messages_xid_not_null NOT NULL,
    enqueued_at timestamp with time zone CONSTRAINT messages_enqueued_at_not_null NOT NULL,
    message_id uuid CONSTRAINT messages_message_id_not_null NOT NULL,
    lane integer CONSTRAINT messages_lane_not_null NOT NULL,
    slot smallint CONSTRAINT messages_slot_not_null NOT NULL,
    attempts smallint CONSTRAINT messages_attempts_not_null NOT NULL,
    foreign_id text,
    actor_name text CONSTRAINT messages_actor_name_not_null NOT NULL,
    payload bytea CONSTRAINT messages_payload_not_null NOT NULL
)
WITH (autovacuum_enabled=off, vacuum_truncate=off);

CREATE SEQUENCE pgqueue.open_slot
    START WITH 0
    INCREMENT BY 1
    MINVALUE 0
    NO MAXVALUE
    CACHE 1;

CREATE TABLE pgqueue.outcomes (
    id bigint NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    wait_ms integer NOT NULL,
    run_ms integer NOT NULL,
    slice smallint NOT NULL,
    attempts smallint NOT NULL,
    status "char" NOT NULL,
    foreign_id text,
    actor_name text NOT NULL,
    error text,
    CONSTRAINT outcomes_status_check CHECK ((status = ANY (ARRAY['d'::"char", 'f'::"char", 'c'::"char"])))
)
PARTITION BY LIST (slice);

COMMENT ON TABLE pgqueue.outcomes IS 'Finished messages: d done, f failed (see dead_letters), c cancelled.';

CREATE TABLE pgqueue.outcomes_0 (
    id bigint CONSTRAINT outcomes_id_not_null NOT NULL,
    finished_at timestamp with time zone CONSTRAINT outcomes_finished_at_not_null NOT NULL,
    message_id uuid CONSTRAINT outcomes_message_id_not_null NOT NULL,
    lane integer CONSTRAINT outcomes_lane_not_null NOT NULL,
    wait_ms integer CONSTRAINT outcomes_wait_ms_not_null NOT NULL,
    run_ms integer CONSTRAINT outcomes_run_ms_not_null NOT NULL,
    slice smallint CONSTRAINT outcomes_slice_not_null NOT NULL,
    attempts smallint CONSTRAINT outcomes_attempts_not_null NOT NULL,
    status "char" CONSTRAINT outcomes_status_not_null NOT NULL,
    foreign_id text,
    actor_name text CONSTRAINT outcomes_actor_name_not_null NOT NULL,
    error text,
    CONSTRAINT outcomes_status_check CHECK ((status = ANY (ARRAY['d'::"char", 'f'::"char", 'c'::"char"])))
)
WITH (vacuum_truncate=off);

CREATE TABLE pgqueue.parked (
    id bigint NOT NULL,
    parked_at timestamp with time zone DEFAULT now() NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    attempts smallint NOT NULL,
    foreign_id text,
    actor_name text NOT NULL,
    payload bytea NOT NULL
);

COMMENT ON TABLE pgqueue.parked IS 'Messages of paused actors, put aside by the workers that met them.';

CREATE TABLE pgqueue.pauses (
    kind text NOT NULL,
    name text NOT NULL,
    paused_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pauses_kind_check CHECK ((kind = ANY (ARRAY['queue'::text, 'actor'::text])))
);

COMMENT ON TABLE pgqueue.pauses IS 'Queues and actors of which no worker begins a message.';

CREATE TABLE pgqueue.queue_limits (
    queue_name text NOT NULL,
    at_once integer NOT NULL,
    limited_since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT queue_limits_at_once_check CHECK ((at_once > 0))
);

COMMENT ON TABLE pgqueue.queue_limits IS 'Queues of which at most so many messages run at once, over all workers.';

COMMENT ON COLUMN pgqueue.queue_limits.limited_since IS 'When there came to be a limit, of whatever height.';

CREATE TABLE pgqueue.rate_limit_places (
    owner uuid NOT NULL,
    id bigint NOT NULL,
    taken_at timestamp with time zone DEFAULT now() NOT NULL,
    key text NOT NULL
);

COMMENT ON TABLE pgqueue.rate_limit_places IS 'Places of concurrency limits that workers hold; freed when their owner is lost.';

ALTER TABLE pgqueue.rate_limit_places ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgqueue.rate_limit_places_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE pgqueue.rate_limits (
    key text NOT NULL,
    value bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    era bigint DEFAULT 0 NOT NULL,
    changes smallint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.0', autovacuum_vacuum_threshold='1000');

COMMENT ON TABLE pgqueue.rate_limits IS 'Numbers of rate limiters and barriers, and events.';

COMMENT ON COLUMN pgqueue.rate_limits.expires_at IS 'From then on the row counts as absent.';

COMMENT ON COLUMN pgqueue.rate_limits.era IS 'Grows every 64 changes; only the greatest of a key counts.';

CREATE TABLE pgqueue.ready (
    xid bigint NOT NULL,
    id bigint NOT NULL,
    lane integer NOT NULL,
    slot smallint NOT NULL,
    idle_cell smallint
)
PARTITION BY LIST (slot);

COMMENT ON TABLE pgqueue.ready IS 'Messages that may be claimed; the claim deletes the row.';

COMMENT ON COLUMN pgqueue.ready.idle_cell IS 'The idle register to look at when the transaction commits; in one row of each queue at most.';

CREATE TABLE pgqueue.ready_0 (
    xid bigint CONSTRAINT ready_xid_not_null NOT NULL,
    id bigint CONSTRAINT ready_id_not_null NOT NULL,
    lane integer CONSTRAINT ready_lane_not_null NOT NULL,
    slot smallint CONSTRAINT ready_slot_not_null NOT NULL,
    idle_cell smallint
)
WITH (autovacuum_enabled=off, vacuum_truncate=off);

CREATE TABLE pgqueue.results (
    stored_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    slice smallint NOT NULL,
    key text NOT NULL,
    value bytea NOT NULL
)
PARTITION BY LIST (slice);

COMMENT ON TABLE pgqueue.results IS 'What actors returned or raised; the youngest row of a key counts.';

CREATE TABLE pgqueue.results_0 (
    stored_at timestamp with time zone CONSTRAINT results_stored_at_not_null NOT NULL,
    expires_at timestamp with time zone CONSTRAINT results_expires_at_not_null NOT NULL,
    slice smallint CONSTRAINT results_slice_not_null NOT NULL,
    key text CONSTRAINT results_key_not_null NOT NULL,
    value bytea CONSTRAINT results_value_not_null NOT NULL
)
WITH (vacuum_truncate=off);

CREATE SEQUENCE pgqueue.rewind_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE pgqueue.scheduled (
    id bigint NOT NULL,
    xid bigint NOT NULL,
    due_at timestamp with time zone NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    attempts smallint NOT NULL,
    foreign_id text,
    actor_name text NOT NULL,
    payload bytea NOT NULL
);

COMMENT ON TABLE pgqueue.scheduled IS 'Messages that are not due yet.';

CREATE TABLE pgqueue.slots (
    slot smallint NOT NULL,
    state text NOT NULL,
    turn bigint NOT NULL,
    first_id bigint NOT NULL,
    changed_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT slots_state_check CHECK ((state = ANY (ARRAY['open'::text, 'closing'::text, 'free'::text])))
);

COMMENT ON TABLE pgqueue.slots IS 'The ring: which slot is open for inserts, which are being emptied, which are free.';

CREATE UNLOGGED TABLE pgqueue.waits (
    key text NOT NULL,
    channel text NOT NULL,
    ticket bigint NOT NULL
);

COMMENT ON TABLE pgqueue.waits IS 'Who wants to be told, on which channel, when there is a result or an event under a key.';

CREATE TABLE pgqueue.worker_orders (
    process uuid NOT NULL,
    verb text NOT NULL,
    ordered_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT worker_orders_verb_check CHECK ((verb = ANY (ARRAY['quiet'::text, 'stop'::text])))
);

COMMENT ON TABLE pgqueue.worker_orders IS 'Processes that are to begin no more messages, or to stop.';

CREATE TABLE pgqueue.worker_states (
    owner uuid NOT NULL,
    queues text[] NOT NULL,
    actors text[] NOT NULL,
    running bigint[] NOT NULL,
    running_since timestamp with time zone[] NOT NULL,
    state text DEFAULT 'working'::text NOT NULL,
    memory_bytes bigint,
    faults jsonb,
    CONSTRAINT worker_states_state_check CHECK ((state = ANY (ARRAY['working'::text, 'quiet'::text, 'stopping'::text])))
)
WITH (fillfactor='50');

COMMENT ON TABLE pgqueue.worker_states IS 'What a worker serves, and the messages it has been running for more than a moment.';

COMMENT ON COLUMN pgqueue.worker_states.state IS 'Which order the process obeys.';

COMMENT ON COLUMN pgqueue.worker_states.faults IS 'Which duties fail and of what, and how often which faults were met lately; NULL if all is well.';

CREATE TABLE pgqueue.workers (
    owner uuid NOT NULL,
    lock_key bigint NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    threads smallint NOT NULL,
    process uuid
)
WITH (fillfactor='50');

COMMENT ON TABLE pgqueue.workers IS 'Claim holders alive: each holds the advisory lock lock_key and renews seen_at.';

COMMENT ON COLUMN pgqueue.workers.process IS 'The same in all rows of a process, which takes a new owner with each connection that it claims over.';

ALTER TABLE ONLY pgqueue.attempts ATTACH PARTITION pgqueue.attempts_0 FOR VALUES IN ('0');

ALTER TABLE ONLY pgqueue.leases ATTACH PARTITION pgqueue.leases_0 FOR VALUES IN ('0');

ALTER TABLE ONLY pgqueue.messages ATTACH PARTITION pgqueue.messages_0 FOR VALUES IN ('0');

ALTER TABLE ONLY pgqueue.outcomes ATTACH PARTITION pgqueue.outcomes_0 FOR VALUES IN ('0');

ALTER TABLE ONLY pgqueue.ready ATTACH PARTITION pgqueue.ready_0 FOR VALUES IN ('0');

ALTER TABLE ONLY pgqueue.results ATTACH PARTITION pgqueue.results_0 FOR VALUES IN ('0');

ALTER TABLE ONLY pgqueue.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

ALTER TABLE ONLY pgqueue.cancellations
    ADD CONSTRAINT cancellations_pkey PRIMARY KEY (message_id);

ALTER TABLE ONLY pgqueue.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgqueue.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY pgqueue.lanes
    ADD CONSTRAINT lanes_queue_name_priority_key UNIQUE (queue_name, priority);

ALTER TABLE ONLY pgqueue.pauses
    ADD CONSTRAINT pauses_pkey PRIMARY KEY (kind, name);

ALTER TABLE ONLY pgqueue.queue_limits
    ADD CONSTRAINT queue_limits_pkey PRIMARY KEY (queue_name);

ALTER TABLE ONLY pgqueue.rate_limit_places
    ADD CONSTRAINT rate_limit_places_pkey PRIMARY KEY (owner, id);

ALTER TABLE ONLY pgqueue.rate_limits
    ADD CONSTRAINT rate_limits_pkey PRIMARY KEY (key, era);

ALTER TABLE ONLY pgqueue.slots
    ADD CONSTRAINT slots_pkey PRIMARY KEY (slot);

ALTER TABLE ONLY pgqueue.worker_orders
    ADD CONSTRAINT worker_orders_pkey PRIMARY KEY (process);

ALTER TABLE ONLY pgqueue.worker_states
    ADD CONSTRAINT worker_states_pkey PRIMARY KEY (owner);

ALTER TABLE ONLY pgqueue.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (owner);

CREATE INDEX attempts_message_id_0 ON pgqueue.attempts_0 USING btree (message_id);

CREATE INDEX dead_letters_died_at ON pgqueue.dead_letters USING btree (died_at);

CREATE INDEX dead_letters_message_id ON pgqueue.dead_letters USING btree (message_id);

CREATE INDEX dead_letters_queue ON pgqueue.dead_letters USING btree (queue_name, died_at);

CREATE INDEX leases_queue_name ON ONLY pgqueue.leases USING btree (queue_name) WHERE (queue_name IS NOT NULL);

CREATE INDEX leases_0_queue_name_idx ON pgqueue.leases_0 USING btree (queue_name) WHERE (queue_name IS NOT NULL);

CREATE UNIQUE INDEX leases_lid_0 ON pgqueue.leases_0 USING btree (lid);

CREATE INDEX messages_id_0 ON pgqueue.messages_0 USING btree (id);

CREATE INDEX messages_message_id_0 ON pgqueue.messages_0 USING btree (message_id);

CREATE INDEX outcomes_message_id_0 ON pgqueue.outcomes_0 USING btree (message_id);

CREATE INDEX parked_actor ON pgqueue.parked USING btree (actor_name, id);

CREATE INDEX parked_message_id ON pgqueue.parked USING btree (message_id);

CREATE INDEX ready_place_0 ON pgqueue.ready_0 USING btree (lane, xid, id);

CREATE INDEX results_key_0 ON pgqueue.results_0 USING btree (key);

CREATE INDEX scheduled_due ON pgqueue.scheduled USING btree (due_at, id);

CREATE INDEX scheduled_message_id ON pgqueue.scheduled USING btree (message_id);

CREATE INDEX scheduled_xid ON pgqueue.scheduled USING btree (xid);

CREATE INDEX waits_key ON pgqueue.waits USING btree (key);

ALTER INDEX pgqueue.leases_queue_name ATTACH PARTITION pgqueue.leases_0_queue_name_idx;

CREATE CONSTRAINT TRIGGER wake_idle_workers AFTER INSERT ON pgqueue.ready DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((new.idle_cell IS NOT NULL)) EXECUTE FUNCTION pgqueue.wake_idle_workers('dd2ab8c9');

ALTER TABLE ONLY pgqueue.worker_states
    ADD CONSTRAINT worker_states_owner_fkey FOREIGN KEY (owner) REFERENCES pgqueue.workers(owner) ON DELETE CASCADE;
