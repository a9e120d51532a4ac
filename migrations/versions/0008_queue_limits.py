"""At most so many messages of a queue run at once, over all workers.

Revision ID: pgqueue_0008
Revises: pgqueue_0007
"""

import re

from alembic import context, op

revision = "pgqueue_0008"
down_revision = "pgqueue_0007"
branch_labels = None
depends_on = None

#: Whoever may read and write pauses may read and write limits: a worker whose role was granted its rights before could
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
            chr(32), 'GRANT', privilege.privilege_type, 'ON', 'pgqueue.queue_limits'::regclass, 'TO',
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
    """Add the table and the mark; workers of the release before mark nothing, and limits hold once they are gone."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        CREATE TABLE pgqueue.queue_limits (
            queue_name text PRIMARY KEY,
            at_once integer NOT NULL CHECK (at_once > 0),
            limited_since timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE pgqueue.queue_limits IS
            'Queues of which at most so many messages run at once, over all workers.';
        COMMENT ON COLUMN pgqueue.queue_limits.limited_since IS 'When there came to be a limit, of whatever height.';

        ALTER TABLE pgqueue.leases ADD COLUMN queue_name text;
        COMMENT ON COLUMN pgqueue.leases.queue_name IS
            'Set if the queue had a limit when its messages were claimed; the lease holds none of another queue then.';
        -- Empty but for queues that have a limit: what is held of these is counted by it.
        CREATE INDEX leases_queue_name ON pgqueue.leases (queue_name) WHERE queue_name IS NOT NULL;
        """
    )
    sql(GRANTS)


def downgrade() -> None:
    """Take them away: all queues are without a limit again."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(
        """
        ALTER TABLE pgqueue.leases DROP COLUMN queue_name;
        DROP TABLE pgqueue.queue_limits;
        """
    )
