"""The table of rate limiters and barriers.

Revision ID: pgqueue_0002
Revises: pgqueue_0001
"""

import re

from alembic import context, op

revision = "pgqueue_0002"
down_revision = "pgqueue_0001"
branch_labels = None
depends_on = None


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Create the table."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        -- Half of each page stays free and nothing but the key is indexed, so that every update is HOT.
        CREATE TABLE pgqueue.rate_limits (
            key text PRIMARY KEY,
            value bigint NOT NULL,
            expires_at timestamptz NOT NULL
        ) WITH (
            fillfactor = 50,
            autovacuum_vacuum_scale_factor = 0.0,
            autovacuum_vacuum_threshold = 1000
        );
        COMMENT ON TABLE pgqueue.rate_limits IS 'Numbers of rate limiters and barriers, and events.';
        COMMENT ON COLUMN pgqueue.rate_limits.expires_at IS 'From then on the row counts as absent.';
        """
    )


def downgrade() -> None:
    """Drop the table."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql("DROP TABLE pgqueue.rate_limits")
