"""A message of an application's transaction wakes an idle worker when that commits, not when the message is written.

Revision ID: pgqueue_0005
Revises: pgqueue_0004
"""

import re
from zlib import crc32

from alembic import context, op

revision = "pgqueue_0005"
down_revision = "pgqueue_0004"
branch_labels = None
depends_on = None


def schema_name() -> str:
    """The configured schema."""
    return str(context.config.attributes.get("schema", "pgqueue"))


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + schema_name().replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Add what the trigger goes by; senders of the release before leave it NULL and notify by themselves."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        -- Retries come to leases first, claims to ready. A later revision, in the same transaction perhaps, changes
        -- leases: it would meet a retry there that waits for ready, again at each attempt. So both, at once.
        LOCK TABLE pgqueue.ready, pgqueue.leases IN ACCESS EXCLUSIVE MODE;
        ALTER TABLE pgqueue.ready ADD COLUMN idle_cell smallint;
        COMMENT ON COLUMN pgqueue.ready.idle_cell IS
            'The idle register to look at when the transaction commits; in one row of each queue at most.';

        CREATE FUNCTION pgqueue.wake_idle_workers() RETURNS trigger
        LANGUAGE plpgsql AS $$
        BEGIN
            IF pg_sequence_last_value(format('%I.idle_%s', TG_TABLE_SCHEMA, NEW.idle_cell)::regclass)
                > extract(epoch FROM clock_timestamp()) * 1000
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
    )
    sql(
        f"""
        CREATE CONSTRAINT TRIGGER wake_idle_workers
            AFTER INSERT ON pgqueue.ready
            DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.idle_cell IS NOT NULL)
            EXECUTE FUNCTION pgqueue.wake_idle_workers('{crc32(schema_name().encode()):08x}');
        """
    )


def downgrade() -> None:
    """Take it away."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        DROP TRIGGER wake_idle_workers ON pgqueue.ready;
        DROP FUNCTION pgqueue.wake_idle_workers();
        ALTER TABLE pgqueue.ready DROP COLUMN idle_cell;
        """
    )
