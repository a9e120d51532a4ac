"""What keeps an old snapshot, each for as long as its block lasts."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pgqueue.embedded.binaries import Binaries
from tests.support.eventually import eventually
from tests.support.processes import ended

__all__ = ["HOLDERS"]

DUMPING = """
SELECT pid FROM pg_stat_activity
WHERE application_name = 'pg_dump' AND datname = current_database() AND xact_start IS NOT NULL
"""


@contextmanager
def reader(url: str) -> Iterator[str]:
    """An application that has read something of its own, and sleeps in its transaction."""
    with psycopg.connect(url) as conn:
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SELECT count(*) FROM pg_class")
        yield str(conn.info.backend_pid)


@contextmanager
def writer(url: str) -> Iterator[str]:
    """One that has written something."""
    with psycopg.connect(url) as conn:
        conn.execute("SELECT pg_current_xact_id()")
        yield str(conn.info.backend_pid)


@contextmanager
def prepared(url: str) -> Iterator[str]:
    """A transaction that was prepared, and whose manager does not come back."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("BEGIN")
        conn.execute("SELECT pg_current_xact_id()")
        conn.execute("PREPARE TRANSACTION 'abandoned'")
        try:
            yield "abandoned"
        finally:
            conn.execute("ROLLBACK PREPARED 'abandoned'")


@contextmanager
def slot(url: str) -> Iterator[str]:
    """A replication slot that nobody reads."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')")
        try:
            yield "forgotten"
        finally:
            conn.execute("SELECT pg_drop_replication_slot('forgotten')")


@contextmanager
def dump(url: str) -> Iterator[str]:
    """A pg_dump of all that there is, which has its locks and whose reader is in no hurry."""
    parts = conninfo_to_dict(url)
    program = Binaries.find().program("pg_dump")
    command = [
        program,
        "-h",
        parts["host"],
        "-p",
        str(parts.get("port", 5432)),
        "-U",
        parts["user"],
        parts["dbname"],
    ]
    with (
        psycopg.connect(url, autocommit=True) as conn,
        # Nobody reads what it writes: it stops as soon as the pipe is full.
        ended(subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)),
    ):

        def dumping() -> str:
            row = conn.execute(DUMPING).fetchone()
            assert row is not None
            locks = conn.execute(
                "SELECT count(*) FROM pg_locks WHERE pid = %s AND relation IS NOT NULL", row
            ).fetchone()
            assert locks is not None
            assert locks[0] > 50
            return str(row[0])

        yield eventually(dumping, within_s=30.0)


#: By name; each yields what the doctor is to name.
HOLDERS: dict[str, Callable[[str], AbstractContextManager[str]]] = {
    "reader": reader, "writer": writer, "prepared": prepared, "slot": slot, "dump": dump,
}  # fmt: skip
