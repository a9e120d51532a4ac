"""Where the demo's messages live: a bundled server made for it, or a schema made for it on another server.

Both are gone afterwards.
"""

import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import embedded, schema
from ..brokers.postgres import PostgresBroker
from ..errors import PermissionDenied
from ..storage import revision
from ..storage.database import Database, translated
from ..storage.urls import redacted

__all__ = ["Place", "opened", "server", "server_version", "tables"]

#: Seconds that the bundled server may take to end and to remove its files.
END_S = 15.0


@dataclass(frozen=True, slots=True)
class Place:
    """A database's URL and the schema in it."""

    url: str
    schema: str


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """Give the URL of a server: the one named, or a bundled one with a temporary directory of its own."""
    if url is None:
        with _temporary_server() as found:
            yield found
    elif embedded.is_embedded_url(url):
        with embedded.start(url) as bundled:
            yield bundled.url
    else:
        yield url


@contextmanager
def _temporary_server() -> Iterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="pgqueue-demo-"))
    try:
        bundled = embedded.start(directory, temporary=True)
        try:
            yield bundled.url
        finally:
            bundled.release()
            _wait_until_gone(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _wait_until_gone(directory: Path) -> None:
    """The server ends in its own time, and its keeper removes its files thereafter."""
    deadline = time.monotonic() + END_S
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@contextmanager
def tables(url: str, *, temporary: bool) -> Iterator[Place]:
    """Make a schema with pgqueue's tables, under a name that nobody else has, and remove it at the end.

    Parameters:
      temporary: The server itself is for the demo alone: the usual name will do, and nothing need be removed.

    Raises:
      DatabaseUnavailable: The server can't be reached.
      PermissionDenied: The role may not create a schema.
    """
    place = Place(url, "pgqueue" if temporary else f"pgqueue_demo_{secrets.token_hex(4)}")
    _migrate(place)
    try:
        yield place
    finally:
        if not temporary:
            with opened(place) as database, database.connection() as conn:
                revision.drop(conn, database.statements)


def _migrate(place: Place) -> None:
    try:
        with translated(Database(place.url)):
            schema.upgrade(place.url, place.schema)
    except PermissionDenied as error:
        raise PermissionDenied(
            f"The demo makes a schema of its own, and the database role may not, in {redacted(place.url)}. As the "
            "database's owner: GRANT CREATE ON DATABASE … TO …; or leave --url out for the bundled server."
        ) from error


@contextmanager
def opened(place: Place) -> Iterator[Database]:
    """Give access to the database for a moment."""
    broker = PostgresBroker(place.url, schema=place.schema)  # it knows what else a URL may look like
    try:
        yield broker.database
    finally:
        broker.close()


def server_version(place: Place) -> str:
    """Return the version of the server, in digits."""
    with opened(place) as database, database.connection() as conn:
        version = conn.info.parameter_status("server_version") or "(unknown version)"
    return version.split()[0]
