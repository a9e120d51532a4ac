"""Each failed attempt of a message leaves a row, also if it was retried or its worker was lost.

Revision ID: pgqueue_0006
Revises: pgqueue_0005
"""

import re

from alembic import context, op

revision = "pgqueue_0006"
down_revision = "pgqueue_0005"
branch_labels = None
depends_on = None

#: Attempts are kept in slices of a day.
SLICES = 16

TABLE = """
CREATE TABLE pgqueue.attempts (
    failed_at timestamptz NOT NULL,
    message_id uuid NOT NULL,
    lane integer NOT NULL,
    wait_ms integer,
    run_ms integer,
    retries integer,
    slice smallint NOT NULL,
    kind "char" NOT NULL CHECK (kind IN ('r', 'f', 'l')),
    actor_name text NOT NULL,
    worker text,
    error text,
    traceback text
) PARTITION BY LIST (slice);
COMMENT ON TABLE pgqueue.attempts IS 'Failed attempts: r retried, f given up (see dead_letters), l worker lost.';
COMMENT ON COLUMN pgqueue.attempts.retries IS 'Failures before this one, as the Retries middleware counts them.';
"""

SLICE = """
CREATE TABLE pgqueue.attempts_{n} PARTITION OF pgqueue.attempts FOR VALUES IN ({n}) WITH (vacuum_truncate = off);
CREATE INDEX attempts_message_id_{n} ON pgqueue.attempts_{n} (message_id);
"""

#: Whoever may write outcomes may write attempts: a worker whose role was granted its rights before could settle no
#: failed message until an administrator grants them anew.
GRANTS = """
DO $$
DECLARE
    privilege record;
BEGIN
    FOR privilege IN
        SELECT acl.privilege_type, acl.grantee, acl.is_grantable
        FROM pg_class, aclexplode(relacl) AS acl
        WHERE pg_class.oid = 'pgqueue.outcomes{leaf}'::regclass AND acl.grantee <> relowner
    LOOP
        EXECUTE concat_ws(
            chr(32), 'GRANT', privilege.privilege_type, 'ON', 'pgqueue.attempts{leaf}'::regclass, 'TO',
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
    """Make the table; workers of the release before know nothing of it and go on."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql(TABLE)
    sql("".join(SLICE.format(n=n) for n in range(SLICES)))
    sql("".join(GRANTS.format(leaf=leaf) for leaf in ["", *(f"_{n}" for n in range(SLICES))]))


def downgrade() -> None:
    """Drop it."""
    sql("SET LOCAL lock_timeout = '50ms'")
    sql("DROP TABLE pgqueue.attempts")
