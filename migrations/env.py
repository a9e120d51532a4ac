"""The Alembic environment of pgqueue's own schema.

Decides which database and which schema the revisions work on, keeps two migrators apart, and runs the revisions:
on a server, or as SQL text (``--sql``). The revisions find the schema in ``config.attributes["schema"]``.

Settings, first found wins: ``config.attributes`` (``pgqueue.schema`` sets them), ``alembic -x url=… -x schema=…``,
the environment (``PGQUEUE_URL``, then ``DATABASE_URL``; ``PGQUEUE_SCHEMA``).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg
from alembic import context
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

#: Seconds that an unreachable server may take before we say so; a connect_timeout in the URL wins.
CONNECT_TIMEOUT_S = 10

LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('pgqueue migrate ' || :schema, 0))")
SCHEMA_EXISTS = text("SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = :schema)")


def setting(name: str, *variables: str) -> str | None:
    """Look one setting up: attributes, then ``-x name=``, then the environment variables in turn."""
    given = context.config.attributes.get(name) or context.get_x_argument(as_dictionary=True).get(name)
    return given or next((value for variable in variables if (value := os.environ.get(variable))), None)


def required_url() -> str:
    """Return the URL or conninfo of the database to migrate."""
    url = setting("url", "PGQUEUE_URL", "DATABASE_URL")
    if url is None:
        raise SystemExit("No database to migrate: set PGQUEUE_URL or pass -x url=postgresql://…")
    return url


@contextmanager
def server(url: str) -> Iterator[str]:
    """Give a URL to connect to: of the bundled server, kept running meanwhile, if ``embedded:`` is asked for."""
    if not url.startswith("embedded:"):
        yield url
        return
    from pgqueue import embedded  # noqa: PLC0415 - whoever migrates another server needs only Alembic and psycopg

    with embedded.start(url) as bundled:
        yield bundled.url


def connect(url: str) -> psycopg.Connection[Any]:
    """Connect as libpq does: any of its URLs, key=value strings and lists of hosts.

    A driver that SQLAlchemy would read from the URL (``postgresql+asyncpg://``) is left out.
    """
    conninfo = re.sub(r"^postgres(ql)?\+\w+://", "postgresql://", url)
    try:
        given = conninfo_to_dict(conninfo)
    except (psycopg.ProgrammingError, UnicodeError):
        # Without its cause, which quotes what could not be read: that may be the password.
        raise SystemExit(
            "The database URL can't be read: in a password, / is written %2F, and @ %40."
        ) from None
    # UTF-8, for a server in SQL_ASCII would have texts be bytes.
    timeout = given.get("connect_timeout", CONNECT_TIMEOUT_S)
    return psycopg.connect(conninfo, connect_timeout=timeout, client_encoding="UTF8")


def quoted(schema: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + schema.replace('"', '""') + '"'


def create_schema(connection: Connection, schema: str) -> None:
    """Make room for the version table, which Alembic creates before the first revision.

    Asks first, because CREATE SCHEMA IF NOT EXISTS needs its privilege even when there is nothing to do.
    """
    if not connection.execute(SCHEMA_EXISTS, {"schema": schema}).scalar_one():
        # The driver looks for placeholders: percent signs must be doubled.
        connection.exec_driver_sql(f"CREATE SCHEMA {quoted(schema)}".replace("%", "%%"))


def run_online(schema: str) -> None:
    """Run the revisions on the configured database."""
    with server(required_url()) as url:
        engine = create_engine("postgresql+psycopg://", creator=lambda: connect(url), poolclass=NullPool)
        migrate(engine, schema)


def migrate(engine: Engine, schema: str) -> None:
    """Run the revisions in one transaction, behind a lock that a second migrator waits for."""
    with engine.connect() as connection:
        context.configure(connection=connection, version_table_schema=schema)
        with context.begin_transaction():
            if not context.get_context().opts.get("dont_mutate"):
                connection.execute(LOCK, {"schema": schema})
                create_schema(connection, schema)
            context.run_migrations()


def run_offline(schema: str) -> None:
    """Print the revisions as SQL that psql runs: in a transaction, or for one of the caller's."""
    context.configure(
        url="postgresql+psycopg://",
        version_table_schema=schema,
        literal_binds=True,
        # Anything but "pyformat", which would double every percent sign.
        dialect_opts={"paramstyle": "named"},
    )
    with nullcontext() if context.config.attributes.get("bare") else context.begin_transaction():
        if context.get_starting_revision_argument() in (None, "base", ()):
            context.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        context.run_migrations()


def run() -> None:
    """Run the revisions that Alembic's command asks for."""
    schema = setting("schema", "PGQUEUE_SCHEMA") or "pgqueue"
    context.config.attributes["schema"] = schema
    (run_offline if context.is_offline_mode() else run_online)(schema)


run()
