"""What operators order single worker processes to do: to go quiet, or to stop; and what these say of themselves.

Revision ID: pgqueue_0007
Revises: pgqueue_0006
"""

import re

from alembic import context, op

revision = "pgqueue_0007"
down_revision = "pgqueue_0006"
branch_labels = None
depends_on = None

#: Whoever may read and write pauses may read and write orders: a worker whose role was granted its rights before could
#: not look for any order until an administrator grants them anew.
GRANTS = """
DO $$
DECLARE
    privilege record;
BEGIN
    FOR privilege IN
        SELECT acl.privilege_type, acl.grantee, acl.is_grantable
        FROM pg_class, aclexplode(relacl) AS acl
        WHERE pg_class.oid = 'pgqueue.pauses'::regclass AND acl.grantee <> relowner
    LOOP
        EXECUTE concat_ws(
            chr(32), 'GRANT', privilege.privilege_type, 'ON', 'pgqueue.worker_orders'::regclass, 'TO',
            CASE WHEN privilege.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(privilege.grantee)) END,
            CASE WHEN privilege.is_grantable THEN 'WITH GRANT OPTION' END
        );
    END LOOP;
END
$$;
"""


def sql(text: str) -> None:
    """Run ``text`` with the configured schema in the place of ``pgqueue``."""
    schema = '"' + str(context.config.attributes.get("schema", "pgqueue")).replace('"', '""') + '"'
    op.execute(re.sub(r"\bpgqueue\.", lambda _: schema + ".", text))


def upgrade() -> None:
    """Add them; workers of the release before leave the process NULL, and nobody can order them anything."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        ALTER TABLE pgqueue.workers ADD COLUMN process uuid;
        COMMENT ON COLUMN pgqueue.workers.process IS
            'The same in all rows of a process, which takes a new owner with each connection that it claims over.';

        ALTER TABLE pgqueue.worker_states
            ADD COLUMN state text NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'quiet', 'stopping')),
            ADD COLUMN memory_bytes bigint;
        COMMENT ON COLUMN pgqueue.worker_states.state IS 'Which order the process obeys.';

        CREATE TABLE pgqueue.worker_orders (
            process uuid PRIMARY KEY,
            verb text NOT NULL CHECK (verb IN ('quiet', 'stop')),
            ordered_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE pgqueue.worker_orders IS 'Processes that are to begin no more messages, or to stop.';
        """
    )
    sql(GRANTS)


def downgrade() -> None:
    """Take it away."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        DROP TABLE pgqueue.worker_orders;
        ALTER TABLE pgqueue.worker_states DROP COLUMN memory_bytes, DROP COLUMN state;
        ALTER TABLE pgqueue.workers DROP COLUMN process;
        """
    )
