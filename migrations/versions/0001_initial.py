"""The engine's tables: the ring of slots, scheduled messages, outcomes, results, dead letters, workers.

Revision ID: pgqueue_0001
Revises: nothing
"""

import re

from alembic import context, op

revision = "pgqueue_0001"
down_revision = None
branch_labels = ("pgqueue",)
depends_on = None

#: Slots of the ring that exist from the start; workers attach more when free ones run out.
SLOTS = 8

#: Outcomes are kept in slices of two hours, results in sixteen of ten minutes, sixteen of a day and one for longer.
OUTCOME_SLICES = 16
RESULT_SLICES = 33

#: Cells in which idle workers leave word; a queue uses the one that its name hashes to.
IDLE_REGISTERS = 16


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(
        re.sub(r"\bpgqueue\.", lambda _: schema + ".", text.replace("SCHEMA pgqueue", f"SCHEMA {schema}"))
    )


#: A role that may not make schemas can use one that its DBA has made.
SCHEMA = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{name}') THEN
        CREATE SCHEMA pgqueue;
    END IF;
END $$
"""

REGISTERS = """
-- Registers: sequences used as cells that are not versioned, so that a snapshot held for hours costs nothing.
CREATE SEQUENCE pgqueue.message_seq;                        -- ids of messages; moves whenever something becomes ready
CREATE SEQUENCE pgqueue.lease_seq;
CREATE SEQUENCE pgqueue.open_slot MINVALUE 0 START 0;       -- the slot that takes inserts
CREATE SEQUENCE pgqueue.catalog_seq;                        -- moves when lanes or slots have changed
CREATE SEQUENCE pgqueue.rewind_seq;                         -- moves when rows came back behind the workers' positions
SELECT setval('pgqueue.message_seq', 1);
SELECT setval('pgqueue.catalog_seq', 1);
SELECT setval('pgqueue.rewind_seq', 1);
SELECT setval('pgqueue.open_slot', 0);
"""

IDLE_REGISTER = """
CREATE SEQUENCE pgqueue.idle_{n} MINVALUE 0;                -- some worker is idle until this instant (ms since 1970)
SELECT setval('pgqueue.idle_{n}', 0);
"""

TABLES = """
CREATE TABLE pgqueue.lanes (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue_name text NOT NULL,
    priority integer NOT NULL,
    UNIQUE (queue_name, priority)
);
COMMENT ON TABLE pgqueue.lanes IS 'One row for each priority ever used in a queue; never updated.';

CREATE TABLE pgqueue.slots (
    slot smallint PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('open', 'closing', 'free')),
    turn bigint NOT NULL,
    first_id bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE pgqueue.slots IS 'The ring: which slot is open for inserts, which are being emptied, which are free.';

CREATE TABLE pgqueue.messages (
    id bigint NOT NULL,
    xid bigint NOT NULL,
    enqueued_at timestamptz NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    slot smallint NOT NULL,
    attempts smallint NOT NULL,
    foreign_id text,
    actor_name text NOT NULL,
    payload bytea NOT NULL
) PARTITION BY LIST (slot);
COMMENT ON TABLE pgqueue.messages IS 'Written once, never updated; space comes back when its slot is truncated.';
COMMENT ON COLUMN pgqueue.messages.xid IS 'Transaction in which it became ready; with id, its place in the lane.';
COMMENT ON COLUMN pgqueue.messages.foreign_id IS 'The message id where it is not a UUID; message_id is then its MD5.';
COMMENT ON COLUMN pgqueue.messages.attempts IS 'Earlier claims that were lost with their worker.';

CREATE TABLE pgqueue.ready (
    xid bigint NOT NULL,
    id bigint NOT NULL,
    lane integer NOT NULL,
    slot smallint NOT NULL
) PARTITION BY LIST (slot);
COMMENT ON TABLE pgqueue.ready IS 'Messages that may be claimed; the claim deletes the row.';

CREATE TABLE pgqueue.leases (
    lid bigint NOT NULL DEFAULT nextval('pgqueue.lease_seq'),
    claimed_at timestamptz NOT NULL DEFAULT now(),
    owner uuid NOT NULL,
    slot smallint NOT NULL,
    ids bigint[] NOT NULL,
    done bigint[] NOT NULL DEFAULT '{}'
) PARTITION BY LIST (slot);
COMMENT ON TABLE pgqueue.leases IS 'One row for each batch that a worker holds; done lists what it has settled.';

CREATE TABLE pgqueue.scheduled (
    id bigint NOT NULL,
    xid bigint NOT NULL,
    due_at timestamptz NOT NULL,
    enqueued_at timestamptz NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    attempts smallint NOT NULL,
    foreign_id text,
    actor_name text NOT NULL,
    payload bytea NOT NULL
);
COMMENT ON TABLE pgqueue.scheduled IS 'Messages that are not due yet.';
CREATE INDEX scheduled_due ON pgqueue.scheduled (due_at, id);
CREATE INDEX scheduled_xid ON pgqueue.scheduled (xid);
CREATE INDEX scheduled_message_id ON pgqueue.scheduled (message_id);

CREATE TABLE pgqueue.outcomes (
    id bigint NOT NULL,
    finished_at timestamptz NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    wait_ms integer NOT NULL,
    run_ms integer NOT NULL,
    slice smallint NOT NULL,
    attempts smallint NOT NULL,
    status "char" NOT NULL CHECK (status IN ('d', 'f', 'c')),
    foreign_id text,
    actor_name text NOT NULL,
    error text
) PARTITION BY LIST (slice);
COMMENT ON TABLE pgqueue.outcomes IS 'Finished messages: d done, f failed (see dead_letters), c cancelled.';

CREATE TABLE pgqueue.results (
    stored_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    slice smallint NOT NULL,
    key text NOT NULL,
    value bytea NOT NULL
) PARTITION BY LIST (slice);
COMMENT ON TABLE pgqueue.results IS 'What actors returned or raised; the youngest row of a key counts.';

CREATE TABLE pgqueue.dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    died_at timestamptz NOT NULL DEFAULT now(),
    enqueued_at timestamptz,
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
CREATE INDEX dead_letters_message_id ON pgqueue.dead_letters (message_id);
CREATE INDEX dead_letters_queue ON pgqueue.dead_letters (queue_name, died_at);
CREATE INDEX dead_letters_died_at ON pgqueue.dead_letters (died_at);

CREATE TABLE pgqueue.workers (
    owner uuid PRIMARY KEY,
    lock_key bigint NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    host text NOT NULL,
    pid integer NOT NULL,
    threads smallint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE pgqueue.workers IS 'Claim holders alive: each holds the advisory lock lock_key and renews seen_at.';
"""

#: Rows of a slot die with its TRUNCATE: autovacuum would only read what is about to vanish, and must never
#: take the lock with which it cuts off a table's empty end.
SLOT = """
CREATE TABLE pgqueue.messages_{n} PARTITION OF pgqueue.messages FOR VALUES IN ({n})
    WITH (autovacuum_enabled = off, vacuum_truncate = off);
CREATE INDEX messages_id_{n} ON pgqueue.messages_{n} (id);
CREATE INDEX messages_message_id_{n} ON pgqueue.messages_{n} (message_id);
CREATE TABLE pgqueue.ready_{n} PARTITION OF pgqueue.ready FOR VALUES IN ({n})
    WITH (autovacuum_enabled = off, vacuum_truncate = off);
CREATE INDEX ready_place_{n} ON pgqueue.ready_{n} (lane, xid, id);
CREATE TABLE pgqueue.leases_{n} PARTITION OF pgqueue.leases FOR VALUES IN ({n})
    WITH (autovacuum_enabled = off, vacuum_truncate = off);
CREATE UNIQUE INDEX leases_lid_{n} ON pgqueue.leases_{n} (lid);
INSERT INTO pgqueue.slots (slot, state, turn, first_id)
VALUES ({n}, CASE {n} WHEN 0 THEN 'open' ELSE 'free' END, 0, 1);
"""

OUTCOME_SLICE = """
CREATE TABLE pgqueue.outcomes_{n} PARTITION OF pgqueue.outcomes FOR VALUES IN ({n}) WITH (vacuum_truncate = off);
CREATE INDEX outcomes_message_id_{n} ON pgqueue.outcomes_{n} (message_id);
"""

RESULT_SLICE = """
CREATE TABLE pgqueue.results_{n} PARTITION OF pgqueue.results FOR VALUES IN ({n}) WITH (vacuum_truncate = off);
CREATE INDEX results_key_{n} ON pgqueue.results_{n} (key);
"""

DOWN = """
DROP TABLE pgqueue.workers, pgqueue.dead_letters, pgqueue.results, pgqueue.outcomes, pgqueue.scheduled,
    pgqueue.leases, pgqueue.ready, pgqueue.messages, pgqueue.slots, pgqueue.lanes;
DROP SEQUENCE pgqueue.message_seq, pgqueue.lease_seq, pgqueue.open_slot, pgqueue.catalog_seq, pgqueue.rewind_seq;
"""


def upgrade() -> None:
    """Make the tables."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(SCHEMA.format(name=context.config.attributes.get("schema", "pgqueue")))
    sql(REGISTERS)
    sql("".join(IDLE_REGISTER.format(n=n) for n in range(IDLE_REGISTERS)))
    sql(TABLES)
    for n in range(SLOTS):
        sql(SLOT.format(n=n))
    sql("".join(OUTCOME_SLICE.format(n=n) for n in range(OUTCOME_SLICES)))
    sql("".join(RESULT_SLICE.format(n=n) for n in range(RESULT_SLICES)))


def downgrade() -> None:
    """Drop the tables, and whatever slots were attached."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(DOWN)
    sql("".join(f"DROP SEQUENCE pgqueue.idle_{n};\n" for n in range(IDLE_REGISTERS)))
