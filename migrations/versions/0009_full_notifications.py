"""No commit of an application fails because the server's queue of notifications is full.

Revision ID: pgqueue_0009
Revises: pgqueue_0008
"""

import re

from alembic import context, op

revision = "pgqueue_0009"
down_revision = "pgqueue_0008"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE OR REPLACE FUNCTION pgqueue.wake_idle_workers() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF pg_sequence_last_value(format('%I.idle_%s', TG_TABLE_SCHEMA, NEW.idle_cell)::regclass)
        > extract(epoch FROM clock_timestamp()) * 1000{condition}
    THEN
        -- The workers' channel: <schema>, a colon, ready. A name that is too long for that has a checksum.
        PERFORM pg_notify(
            CASE
                WHEN length(TG_TABLE_SCHEMA) < 58 THEN concat_ws(chr(58), TG_TABLE_SCHEMA, 'ready')
                ELSE concat_ws(chr(58), left(TG_TABLE_SCHEMA, 48), TG_ARGV[0], 'ready')
            END,
            ''
        );
    END IF;
    RETURN NULL;
END
$$;
"""

#: A session that listens and does not read fills the queue, and a commit that adds to a full one fails.
CONDITION = """
        AND pg_notification_queue_usage() < 0.9"""


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Have the trigger tell nobody when that could fail the commit: workers look by themselves."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(FUNCTION.replace("{condition}", CONDITION))


def downgrade() -> None:
    """Let it notify whatever comes."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(FUNCTION.replace("{condition}", ""))
