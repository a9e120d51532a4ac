"""A server to measure on: the one given, or the bundled one with commits as durable as in production."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgqueue import schema
from pgqueue.embedded import start

#: As large as a server of two cores usually has it; everything else is PostgreSQL's default, fsync included.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB"}

#: The schema that a benchmark makes and drops.
SCHEMA = "pgqueue_bench"


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The URL of a server with nothing of ours on it."""
    if url is not None:
        yield url
        return
    with start(temporary=True, settings=SETTINGS) as bundled:
        yield bundled.url


@contextmanager
def fresh_schema(url: str) -> Iterator[str]:
    """A migrated schema of its own, dropped afterwards; yields its name."""
    drop(url)
    schema.upgrade(url, schema=SCHEMA)
    try:
        yield SCHEMA
    finally:
        drop(url)


def drop(url: str) -> None:
    """Drop the benchmark's schema, if it is there."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f'DROP SCHEMA IF EXISTS "{SCHEMA}" CASCADE')
