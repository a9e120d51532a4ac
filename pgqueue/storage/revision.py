"""Which revision the schema is at. Reads Alembic's table alembic_version."""

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
