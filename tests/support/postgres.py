"""The PostgreSQL server behind the tests, and databases cloned from one migrated template.

``PGQUEUE_TEST_URL`` names a server on which the tests may create and drop databases; without it they
run on the bundled one, in a directory of its own that is gone afterwards, even after kill -9.
"""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

from pgqueue import embedded, schema

__all__ = ["Databases", "quick_directory", "server_url", "with_database"]

#: Bytes of free memory file system that are enough for the databases of any test run.
_ENOUGH_MEMORY = 4 * 1024**3

#: Workers of many tests may be connected at once (three connections a process), none with much data.
_SETTINGS = {
    "autovacuum_naptime": "10s", "max_connections": "300", "max_prepared_transactions": "20", "shared_buffers": "64MB",
}  # fmt: skip


_DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


@contextmanager
def server_url() -> Iterator[str]:
    """Give the URL of the tests' server, starting the bundled one if no other is named."""
    given = os.environ.get("PGQUEUE_TEST_URL")
    if given:
        yield given
        return
    directory = tempfile.mkdtemp(prefix="pgqueue-tests-", dir=quick_directory())
    with embedded.start(directory, temporary=True, durable=False, settings=_SETTINGS) as server:
        yield server.url


def quick_directory() -> str | None:
    """Prefer memory to disk: a database is cloned in 20 ms there, on a busy disk in up to 500 ms."""
    memory = "/dev/shm"  # noqa: S108 - the directories in it are made by mkdtemp
    try:
        room = os.statvfs(memory)
    except OSError:
        return None
    return memory if room.f_bavail * room.f_frsize >= _ENOUGH_MEMORY else None


def with_database(url: str, name: str) -> str:
    """Return the same URL for another database of that server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


class Databases:
    """Makes and drops the databases of one test run on one server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._prefix = f"pgqueue_test_{os.getpid()}"
        self._numbers = itertools.count(1)
        self._connection = psycopg.connect(url, autocommit=True)
        self._template: str | None = None
        self._left: list[str] = []

    def create(self, *, migrated: bool = True) -> str:
        """Make a database, migrated or empty, and return its URL."""
        name = f"{self._prefix}_{next(self._numbers)}"
        template = self._migrated_template() if migrated else "template1"
        self._create(name, template=template)
        return with_database(self.url, name)

    def drop(self, url: str) -> None:
        """Disconnect whatever is still connected to a database; it is gone when the next one is dropped.

        Where a session is just ending, as they do after a test, the server would wait for a tenth of a second.
        """
        name = urlsplit(url).path.removeprefix("/")
        self._connection.execute(_DISCONNECT, (name,))
        self._left.append(name)
        while len(self._left) > 1:
            self._drop(self._left.pop(0))

    def close(self) -> None:
        """Drop what is left and disconnect."""
        for name in self._left:
            self._drop(name)
        if self._template is not None:
            self._drop(self._template)
        self._connection.close()

    def _migrated_template(self) -> str:
        if self._template is None:
            name = f"{self._prefix}_template"
            self._create(name, template="template1")
            self._template = name
            schema.upgrade(with_database(self.url, name))
        return self._template

    def _create(self, name: str, *, template: str) -> None:
        self._connection.execute(
            f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'.encode()
        )

    def _drop(self, name: str) -> None:
        self._connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
