"""Where the schema is, which revision it is at, and its end. Reads catalogs and Alembic's table alembic_version."""

from dataclasses import dataclass

from .calls import Call, Procedure, perform
from .database import Connection
from .statements import Statements


@dataclass(frozen=True, slots=True)
class Place:
    """What a connection sees of a schema.

    Attributes:
      name: The same for all connections to the same schema, database and server.
      is_migrated: There is a schema of ours.
      may_send: The connection's role may write messages.
      may_read_revision: It may also ask for the schema's revision.
    """

    name: str
    is_migrated: bool
    may_send: bool
    may_read_revision: bool


def find_place(schema: str) -> Procedure[Place]:
    """Ask where a connection is."""
    (row,) = yield Call("schema/place", {"schema": schema})
    return Place(*row)


def find_revision(schema: str) -> Procedure[str | None]:
    """Ask for the revision of the schema; None if there is no schema of ours."""
    place = yield from find_place(schema)
    if not place.is_migrated:
        return None
    rows = yield Call("schema/revision")
    return str(rows[0][0]) if rows else None


def current_revision(conn: Connection, statements: Statements) -> str | None:
    """The revision of the schema; None if there is no schema of ours."""
    return perform(conn, statements, find_revision(statements.schema))


def drop(conn: Connection, statements: Statements) -> None:
    """Remove the schema with all tables and messages, at whatever revision it is."""
    conn.execute(statements["schema/drop"])
