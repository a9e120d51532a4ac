"""Where the schema is, which revision it is at, and its end. Reads catalogs and Alembic's table alembic_version.

A release works on the revision that it was made with and on all later ones, but for those whose name says that they
need a later release: ``pgqueue_0009_needs_0007`` is for releases that know at least ``pgqueue_0007``. The names of all
revisions after it say as much or more. So a release that is rolled back, or that a rolling upgrade has not replaced
yet, knows by itself whether it may go on.
"""

import re
from dataclasses import dataclass

from ..errors import ReleaseOutdated, SchemaOutdated
from .calls import Call, Procedure, perform
from .database import REQUIRED_REVISION, Connection
from .statements import Statements

_NAME = re.compile(r"pgqueue_(?P<number>\d{4})(?:_needs_(?P<needs>\d{4}))?")

#: For a name that can't be ours: of a history that nobody has thought of yet.
_FAR = 10_000


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
    ((name, *rest),) = yield Call("schema/place", {"schema": schema})
    # A connection whose client_encoding is SQL_ASCII has its texts as bytes.
    return Place(name.decode() if isinstance(name, bytes) else name, *rest)


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


def check_schema(conn: Connection, statements: Statements) -> None:
    """See whether this release works on the schema; raises what `check_revision` does."""
    check_revision(current_revision(conn, statements))


def check_revision(found: str | None, required: str = REQUIRED_REVISION) -> None:
    """See whether a release works on a schema.

    Parameters:
      found: The revision that the schema is at; None if it has none.
      required: The one that the release was made with.

    Raises:
      SchemaOutdated: ``pgqueue migrate`` has to be run first.
      ReleaseOutdated: The schema has gone too far for this release.
    """
    if found is None or number_of(found) < number_of(required):
        raise SchemaOutdated(found=found, required=required)
    if needed_by(found) > number_of(required):
        raise ReleaseOutdated(found=found, known=required)


def number_of(revision: str) -> int:
    """The place of a revision in our history."""
    match = _NAME.fullmatch(revision)
    return int(match["number"]) if match else _FAR


def needed_by(revision: str) -> int:
    """The number of the oldest revision that a release must know to work on this one."""
    match = _NAME.fullmatch(revision)
    return int(match["needs"] or 0) if match else _FAR


def drop(conn: Connection, statements: Statements) -> None:
    """Remove the schema with all tables and messages, at whatever revision it is."""
    conn.execute(statements["schema/drop"])
