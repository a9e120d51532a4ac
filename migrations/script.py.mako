"""${message}.

Frozen once released: it must go on working with the release before it, and never imports pgqueue.
"""

import re

from alembic import context, op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

UP = """
"""

DOWN = """
"""


def sql(text: str) -> str:
    """Fill the schema's name in; the statements are written for the schema ``pgqueue``."""
    schema = context.config.attributes.get("schema", "pgqueue").replace('"', '""')
    return re.sub(r"\bpgqueue\.", lambda _: f'"{schema}".', text)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '50ms'")
    op.execute(sql(UP))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '50ms'")
    op.execute(sql(DOWN))
