"""Worker processes as users run them: by the command line, under its supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from .app import GATE
from .ending import end_group

__all__ = ["HOME", "Workers", "wait_until_done"]

Stamp = tuple[float, float, float]

#: From where this package is imported: the checkout, or where pgqueue is installed. Never the inside of pgqueue, whose
#: modules have names of the standard library's.
HOME = Path(__file__).parents[len(__name__.split(".")) - 1]


class Workers:
    """``pgqueue benchmarks.app`` with some processes; they start with the ``with`` and begin when `go` is called.

    Parameters:
      queues: How many queues the program has.
    """

    def __init__(
        self,
        url: str,
        schema: str,
        *,
        processes: int = 1,
        threads: int = 8,
        results: bool = False,
        queues: int = 1,
    ) -> None:
        self._processes = processes
        self._conn = psycopg.connect(url, autocommit=True)
        self._conn.execute("SELECT pg_advisory_lock(%s)", (GATE,))
        self._directory = tempfile.TemporaryDirectory(prefix="pgqueue-bench-")
        self._log = (Path(self._directory.name) / "log").open("w+")
        self._environment = {
            **os.environ,
            "PGQUEUE_BENCH_URL": url,
            "PGQUEUE_BENCH_SCHEMA": schema,
            "PGQUEUE_BENCH_RESULTS": str(int(results)),
            "PGQUEUE_BENCH_QUEUES": str(queues),
            "PGQUEUE_BENCH_STAMPS": self._directory.name,
            "PYTHONPATH": str(HOME),
        }
        # Elsewhere the module's name could be another's.
        self._words = [f"{__package__}.app", "-p", str(processes), "-t", str(threads)]

    def go(self) -> None:
        """Let them begin."""
        self._conn.execute("SELECT pg_advisory_unlock(%s)", (GATE,))

    def pids(self) -> list[int]:
        """The worker processes, without their supervisor."""
        children = Path(f"/proc/{self._program.pid}/task/{self._program.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def stop(self) -> list[Stamp]:
        """Stop them; return what ``timed`` has noted, in the order of its runs."""
        if self._program.poll() is None:
            self._program.send_signal(signal.SIGTERM)
        code = self._program.wait(60)
        if code:
            raise RuntimeError(f"the workers failed with exit code {code}:\n{self._tail()}")
        files = Path(self._directory.name).glob("*.json")
        stamps = [tuple(stamp) for file in files for stamp in json.loads(file.read_text())]
        return sorted(stamps, key=lambda stamp: stamp[1])

    def _wait_at_gate(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._program.poll() is None:
            row = self._conn.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND classid = %s AND objid = %s AND pid IN"
                " (SELECT pid FROM pg_stat_activity WHERE application_name = 'pgqueue gate')",
                (GATE >> 32, GATE & 0xFFFFFFFF),
            ).fetchone()
            if row is not None and row[0] >= self._processes:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the workers did not start:\n{self._tail()}")

    def _tail(self) -> str:
        self._log.flush()
        self._log.seek(0)
        return self._log.read()[-3000:]

    def __enter__(self) -> Self:
        self._program = subprocess.Popen(
            [sys.executable, "-m", "pgqueue", *self._words],
            env=self._environment,
            cwd=HOME,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all of them can be ended at once, and by us alone
        )
        try:
            self._wait_at_gate()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        end_group(self._program)
        self._conn.close()
        self._log.close()
        self._directory.cleanup()


def wait_until_done(
    conn: psycopg.Connection[Any], schema: str, messages: int, *, within_s: float = 300
) -> float:
    """Wait for so many outcomes; return when the last of them was written, as the server's epoch in seconds.

    Looks seldom and cheaply: at the size of the outcomes, and only counts once they have stopped growing.
    """
    deadline, size = time.monotonic() + within_s, -1
    while time.monotonic() < deadline:
        time.sleep(0.1)
        before, size = size, _outcomes_size(conn, schema)
        if size == before:
            done, last = _outcomes(conn, schema)
            if done > messages:
                raise RuntimeError(f"{done} outcomes of {messages} messages")
            if done == messages:
                return last
    raise RuntimeError(f"{messages} messages were not done within {within_s:.0f} s")


def _outcomes_size(conn: psycopg.Connection[Any], schema: str) -> int:
    row = conn.execute(
        "SELECT sum(pg_relation_size(oid))::bigint FROM pg_class"
        " WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND relname ~ '^outcomes_'",
        (schema,),
    ).fetchone()
    return int(row[0]) if row else 0


def _outcomes(conn: psycopg.Connection[Any], schema: str) -> tuple[int, float]:
    row = conn.execute(
        f'SELECT count(*), coalesce(extract(epoch FROM max(finished_at)), 0)::float8 FROM "{schema}".outcomes'
    ).fetchone()
    return (row[0], row[1]) if row else (0, 0.0)
