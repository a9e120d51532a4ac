"""What operators order and what workers say of themselves: pauses, cancellations, declarations.

Revision ID: pgqueue_0004
Revises: pgqueue_0003
"""

import re

from alembic import context, op

revision = "pgqueue_0004"
down_revision = "pgqueue_0003"
branch_labels = None
depends_on = None


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Make the tables; workers of the release before know nothing of them and go on."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        CREATE TABLE pgqueue.pauses (
            kind text NOT NULL CHECK (kind IN ('queue', 'actor')),
            name text NOT NULL,
            paused_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (kind, name)
        );
        COMMENT ON TABLE pgqueue.pauses IS 'Queues and actors of which no worker begins a message.';

        CREATE TABLE pgqueue.parked (
            id bigint NOT NULL,
            parked_at timestamptz NOT NULL DEFAULT now(),
            enqueued_at timestamptz NOT NULL,
            message_id uuid NOT NULL,
            lane integer NOT NULL,
            attempts smallint NOT NULL,
            foreign_id text,
            actor_name text NOT NULL,
            payload bytea NOT NULL
        );
        COMMENT ON TABLE pgqueue.parked IS 'Messages of paused actors, put aside by the workers that met them.';
        CREATE INDEX parked_actor ON pgqueue.parked (actor_name, id);
        CREATE INDEX parked_message_id ON pgqueue.parked (message_id);

        CREATE TABLE pgqueue.cancellations (
            message_id uuid PRIMARY KEY,
            requested_at timestamptz NOT NULL DEFAULT now(),
            state text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'accepted', 'refused'))
        );
        COMMENT ON TABLE pgqueue.cancellations IS 'Messages that a worker held when they were to be cancelled.';

        CREATE TABLE pgqueue.worker_states (
            owner uuid PRIMARY KEY REFERENCES pgqueue.workers ON DELETE CASCADE,
            queues text[] NOT NULL,
            actors text[] NOT NULL,
            running bigint[] NOT NULL,
            running_since timestamptz[] NOT NULL
        ) WITH (fillfactor = 50);
        COMMENT ON TABLE pgqueue.worker_states IS
            'What a worker serves, and the messages it has been running for more than a moment.';
        """
    )


def downgrade() -> None:
    """Drop the tables; messages that are parked go back to their queues."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        WITH present AS MATERIALIZED (
            SELECT pg_current_xact_id()::text::bigint AS xid, last_value::smallint AS slot
            FROM pgqueue.open_slot
        ),
        written AS (
            INSERT INTO pgqueue.messages
                (id, xid, enqueued_at, message_id, lane, slot, attempts, foreign_id, actor_name, payload)
            SELECT
                nextval('pgqueue.message_seq'), present.xid, parked.enqueued_at, parked.message_id, parked.lane,
                present.slot, parked.attempts, parked.foreign_id, parked.actor_name, parked.payload
            FROM present, (SELECT * FROM pgqueue.parked ORDER BY id) AS parked
            RETURNING xid, id, lane, slot
        )
        INSERT INTO pgqueue.ready (xid, id, lane, slot)
        SELECT xid, id, lane, slot
        FROM written;
        DROP TABLE pgqueue.worker_states, pgqueue.cancellations, pgqueue.parked, pgqueue.pauses;
        """
    )
