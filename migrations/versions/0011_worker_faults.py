"""What goes wrong inside of a worker's process, told where others can see it: which duties fail, which faults it met.

Revision ID: pgqueue_0011
Revises: pgqueue_0010
"""

import re

from alembic import context, op

revision = "pgqueue_0011"
down_revision = "pgqueue_0010"
branch_labels = None
depends_on = None


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Add it; workers of the release before leave it NULL, and nobody hears of theirs."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        ALTER TABLE pgqueue.worker_states ADD COLUMN faults jsonb;
        COMMENT ON COLUMN pgqueue.worker_states.faults IS
            'Which duties fail and of what, and how often which faults were met lately; NULL if all is well.';
        """
    )


def downgrade() -> None:
    """Take it away."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql("ALTER TABLE pgqueue.worker_states DROP COLUMN faults")
