"""The floor: what the same server gives to bare statements without ack, retries or anything else.

One table, one index. Taking is ``DELETE … FOR UPDATE SKIP LOCKED LIMIT 100 RETURNING`` with a commit each, from Python
on one or more connections, each in a process of its own: nothing that acks can be cheaper. Inserting is pgbench, with
one row a commit.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier, Event
from typing import Any

import psycopg

from .server import pgbench_program

__all__ = ["commit_ms", "fill", "insert_rate", "payload", "table", "take_rate", "take_wal"]

#: Rows taken by one statement.
BATCH = 100

_MAKE = (
    "DROP TABLE IF EXISTS pgqueue_floor",
    "CREATE TABLE pgqueue_floor (id bigint GENERATED ALWAYS AS IDENTITY, priority int2, payload bytea)",
    "CREATE INDEX pgqueue_floor_place ON pgqueue_floor (priority, id)",
)

TAKE = """
WITH next AS MATERIALIZED (
    SELECT ctid FROM pgqueue_floor ORDER BY priority, id LIMIT %s FOR UPDATE SKIP LOCKED
)
DELETE FROM pgqueue_floor WHERE ctid = ANY (ARRAY(SELECT ctid FROM next)) RETURNING id, payload
"""

_INSERT = "INSERT INTO pgqueue_floor (priority, payload) VALUES (0, '{payload}');\n"


def commit_ms(url: str) -> float:
    """How long a commit of one row waits, by the median of a hundred: what group commits are there to share."""
    with table(url), psycopg.connect(url, autocommit=True, prepare_threshold=0) as conn:
        waits = []
        for _ in range(100):
            began = time.monotonic()
            conn.execute("INSERT INTO pgqueue_floor (priority, payload) VALUES (0, %s)", (b"",))
            waits.append((time.monotonic() - began) * 1000)
    return statistics.median(waits)


def payload() -> bytes:
    """A message as pgqueue would write it: about 170 bytes."""
    message = {
        "queue_name": "default",
        "actor_name": "nothing",
        "args": [1],
        "kwargs": {},
        "options": {},
        "message_id": str(uuid.uuid4()),
        "message_timestamp": 1_700_000_000_000,
    }
    return json.dumps(message, separators=(",", ":")).encode()


@contextmanager
def table(url: str) -> Iterator[None]:
    """The floor's table, empty; dropped afterwards."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET client_min_messages = warning")
        for statement in _MAKE:
            conn.execute(statement)
        try:
            yield
        finally:
            conn.execute("DROP TABLE pgqueue_floor")


def fill(url: str, rows: int) -> None:
    """Put ``rows`` rows into the floor's table, and analyse it."""
    with psycopg.connect(url, autocommit=True) as conn:
        with (
            conn.cursor() as cursor,
            cursor.copy("COPY pgqueue_floor (priority, payload) FROM STDIN") as copy,
        ):
            for _ in range(rows):
                copy.write_row((0, payload()))
        conn.execute("ANALYZE pgqueue_floor")


def take_rate(url: str, *, messages: int, connections: int) -> float:
    """Rows a second that ``connections`` processes take from a table of ``messages`` rows."""
    with table(url):
        fill(url, messages)
        context = multiprocessing.get_context("spawn")
        ready, go, ends = context.Barrier(connections + 1), context.Event(), context.SimpleQueue()
        arguments = (url, ready, go, ends)
        takers = [context.Process(target=_take_all, args=arguments, daemon=True) for _ in range(connections)]
        for taker in takers:
            taker.start()
        ready.wait(60)
        began = time.monotonic()
        go.set()
        ended = max(ends.get() for _ in takers)
        for taker in takers:
            taker.join(60)
        with psycopg.connect(url, autocommit=True) as conn:
            left = conn.execute("SELECT count(*) FROM pgqueue_floor").fetchone()
    if left is None or left[0]:
        raise RuntimeError(f"the floor could not be measured: {left} rows left")
    return float(messages / (ended - began))


def _take_all(url: str, ready: Barrier, go: Event, ends: multiprocessing.SimpleQueue[float]) -> None:
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as conn:
        ready.wait(60)
        go.wait(60)
        while conn.execute(TAKE, (BATCH,), binary=True).fetchall():
            pass
        ends.put(time.monotonic())


def take_wal(url: str, rows: int) -> float:
    """Bytes of WAL a row for inserting by single batches and taking: what the floor's cycle writes."""
    with table(url), psycopg.connect(url, autocommit=True) as conn:
        before = wal(conn)
        fill(url, rows)
        while conn.execute(TAKE, (BATCH,), binary=True).fetchall():
            pass
        return (wal(conn) - before) / rows


def wal(conn: psycopg.Connection[Any]) -> int:
    """The server's position in its log, in bytes."""
    row = conn.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    return int(row[0]) if row else 0


def insert_rate(url: str, *, commits: int, clients: int = 1) -> float | None:
    """Rows a second that pgbench inserts, one a commit, over ``clients`` connections; None without pgbench."""
    script = _INSERT.format(payload=payload().decode().replace("'", "''"))
    with table(url):
        return pgbench(url, script, commits=commits, clients=clients)


def pgbench(url: str, script: str, *, commits: int, clients: int) -> float | None:
    """Commits a second of a script; None if there is no pgbench."""
    program = pgbench_program()
    if program is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        each = max(1, commits // clients)
        outcome = subprocess.run(
            [
                program,
                "-n",
                "-M",
                "prepared",
                "-f",
                file.name,
                "-c",
                str(clients),
                "-j",
                "1",
                "-t",
                str(each),
                url,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"tps = ([\d.]+) \(without initial", outcome.stdout)
    if outcome.returncode or found is None:
        raise RuntimeError(f"pgbench failed: {outcome.stderr.strip()[-500:]}")
    return float(found[1])
