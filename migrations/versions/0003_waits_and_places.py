"""Who waits for a result or an event, who holds a place of a concurrency limit, and numbers that stay cheap to change.

Revision ID: pgqueue_0003
Revises: pgqueue_0002
"""

import re

from alembic import context, op

revision = "pgqueue_0003"
down_revision = "pgqueue_0002"
branch_labels = None
depends_on = None


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Make the tables; numbers that are in use stay what they are."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        -- Under a held snapshot no version of a row is ever pruned, and a look by the key would walk over all of them.
        -- So a number moves on to a new index entry every few changes, and is read from the newest entry backwards.
        ALTER TABLE pgqueue.rate_limits
            ADD COLUMN era bigint NOT NULL DEFAULT 0,
            ADD COLUMN changes smallint NOT NULL DEFAULT 0,
            DROP CONSTRAINT rate_limits_pkey,
            ADD PRIMARY KEY (key, era);
        COMMENT ON COLUMN pgqueue.rate_limits.era IS 'Grows every 64 changes; only the greatest of a key counts.';

        CREATE TABLE pgqueue.rate_limit_places (
            owner uuid NOT NULL,
            id bigint GENERATED ALWAYS AS IDENTITY,
            taken_at timestamptz NOT NULL DEFAULT now(),
            key text NOT NULL,
            PRIMARY KEY (owner, id)
        );
        COMMENT ON TABLE pgqueue.rate_limit_places IS
            'Places of concurrency limits that workers hold; freed when their owner is lost.';

        -- Hints: who misses one looks again by himself. So a crash of the server may empty the table, and anybody else.
        CREATE UNLOGGED TABLE pgqueue.waits (
            key text NOT NULL,
            channel text NOT NULL,
            ticket bigint NOT NULL
        );
        CREATE INDEX waits_key ON pgqueue.waits (key);
        COMMENT ON TABLE pgqueue.waits IS
            'Who wants to be told, on which channel, when there is a result or an event under a key.';
        """
    )


def downgrade() -> None:
    """Drop the tables, and the form of the numbers."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        DROP TABLE pgqueue.waits, pgqueue.rate_limit_places;
        DELETE FROM pgqueue.rate_limits AS old
        USING pgqueue.rate_limits AS young
        WHERE young.key = old.key AND young.era > old.era;
        ALTER TABLE pgqueue.rate_limits
            DROP CONSTRAINT rate_limits_pkey,
            ADD PRIMARY KEY (key),
            DROP COLUMN era,
            DROP COLUMN changes;
        """
    )
