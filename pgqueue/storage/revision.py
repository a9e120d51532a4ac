"""Which revision the schema is at, and its end. Reads Alembic's table alembic_version."""

from psycopg import errors

from .database import Connection
from .statements import Statements


def current_revision(conn: Connection, statements: Statements) -> str | None:
    """The revision of the schema; None if there is no schema of ours."""
    try:
        row = conn.execute(statements["schema/revision"]).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    return None if row is None else str(row[0])


def drop(conn: Connection, statements: Statements) -> None:
    """Remove the schema with all tables and messages, at whatever revision it is."""
    conn.execute(statements["schema/drop"])
