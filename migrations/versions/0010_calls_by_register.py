"""A call for workers says of which register it is, so that only those who serve its queues look.

Revision ID: pgqueue_0010
Revises: pgqueue_0009
"""

import re

from alembic import context, op

revision = "pgqueue_0010"
down_revision = "pgqueue_0009"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE OR REPLACE FUNCTION pgqueue.wake_idle_workers() RETURNS trigger
LANGUAGE plpgsql AS $$
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
            {payload}
        );
    END IF;
    RETURN NULL;
END
$$;
"""

#: The register's name. Workers of earlier releases look whatever a call says.
PAYLOAD = "format('idle_%s', NEW.idle_cell)"


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Name the register in what the trigger tells."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(FUNCTION.replace("{payload}", PAYLOAD))


def downgrade() -> None:
    """Call everybody."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(FUNCTION.replace("{payload}", "''"))
