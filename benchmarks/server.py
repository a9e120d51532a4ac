"""A server to measure on: the one given, or the bundled one with commits as durable as in production."""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from pgqueue import schema
from pgqueue.embedded import start
from pgqueue.embedded.binaries import Binaries
from pgqueue.errors import MissingExtra

__all__ = ["SCHEMA", "SETTINGS", "Bench", "fresh_schema", "pgbench_program", "server", "server_on_loopback"]

#: As large as a server of two cores usually has it; everything else is PostgreSQL's default, fsync included.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}

#: The schema that a benchmark makes and drops.
SCHEMA = "pgqueue_bench"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how much is measured.

    Parameters:
      scale: Factor of all counts; 1 is what a quiet machine measures within ten minutes.
      backlog: Messages of the large backlog.
      full: Whether what is large is as large as in the targets, which takes the better part of an hour.
      against: The release to compare with: a tag, a commit or a wheel; without it the newest tag.
    """

    url: str
    rounds: int = 3
    scale: float = 1.0
    backlog: int = 100_000
    threads: int = 8
    full: bool = False
    against: str | None = None

    def count(self, number: int, *, least: int = 20) -> int:
        """``number``, scaled."""
        return max(least, int(number * self.scale))

    def large(self, number: int, full: int, *, least: int) -> int:
        """``number``, scaled, or ``full`` where everything is to be as large as in the targets."""
        return full if self.full else self.count(number, least=least)


@contextmanager
def server(url: str | None, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of a server with nothing of ours on it.

    Parameters:
      settings: More settings for the bundled one.
    """
    if url is not None:
        yield url
        return
    with start(temporary=True, settings={**SETTINGS, **(settings or {})}) as bundled:
        yield bundled.url


@contextmanager
def server_on_loopback(settings: Mapping[str, str]) -> Iterator[str]:
    """The URL of the bundled server on 127.0.0.1, for drivers that know no sockets; it is gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="pgqueue-bench-")
    place = f"embedded:{directory}?port={port}"
    with start(place, temporary=True, settings={**SETTINGS, **settings}) as bundled:
        word = secrets.token_urlsafe(16)
        with psycopg.connect(bundled.url, autocommit=True) as conn:
            conn.execute(f"CREATE ROLE bench SUPERUSER LOGIN PASSWORD '{word}'")
        yield f"postgresql://bench:{word}@127.0.0.1:{port}/postgres"


@contextmanager
def fresh_schema(url: str, name: str = SCHEMA) -> Iterator[str]:
    """A migrated schema of its own, dropped afterwards; yields its name."""
    _drop(url, name)
    schema.upgrade(url, schema=name)
    try:
        yield name
    finally:
        _drop(url, name)


def _drop(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET client_min_messages = warning")
        conn.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


def pgbench_program() -> str | None:
    """The path of pgbench: the bundled one, or the one on the path."""
    try:
        return Binaries.find().program("pgbench")
    except MissingExtra:
        return shutil.which("pgbench")
