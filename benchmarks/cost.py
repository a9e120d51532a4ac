"""What a message and a process cost besides time: WAL, tuples, connections, memory, an idle process's work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

from pgqueue.storage import registers
from pgqueue.storage.database import Database

from . import floor
from .drain import fill
from .figures import Figure, Report, Target, at_most
from .server import Bench, fresh_schema
from .workers import Workers, wait_until_done

__all__ = ["measure"]

#: Seconds for which an idle process is watched.
IDLE_S = 4.0

_TUPLES = """
SELECT (tup_inserted + tup_updated + tup_deleted)::bigint FROM pg_stat_database WHERE datname = current_database()
"""


def measure(bench: Bench) -> Report:
    """A message's cost from sending to outcome, then that of a process with 50 queues."""
    report = Report()
    with psycopg.connect(bench.url, autocommit=True) as conn:
        for results in (False, True):
            _a_message(bench, conn, report, results=results)
        _a_process(bench, conn, report)
    return report


def _a_message(bench: Bench, conn: psycopg.Connection[Any], report: Report, *, results: bool) -> None:
    messages = bench.count(30_000, least=2_000)
    with fresh_schema(bench.url) as schema, Workers(bench.url, schema, results=results) as workers:
        wal, tuples = floor.wal(conn), _tuples(conn)
        fill(bench, schema, messages=messages)
        workers.go()
        wait_until_done(conn, schema, messages)
        spent = (floor.wal(conn) - wal) / messages
        workers.stop()
        written = (_tuples(conn) - tuples) / messages
    suffix, more = (".results", " and result") if results else ("", "")
    reference, against = (
        floor.take_wal(bench.url, messages),
        "COPY and DELETE … RETURNING of the floor's rows",
    )
    target = Target() if results else at_most(1000.0, 700.0)
    report.figures.extend(
        [
            Figure(
                f"wal{suffix}",
                f"WAL a message, from sending to outcome{more}",
                spent,
                "B",
                reference,
                against,
                target,
            ),
            Figure(
                f"tuples{suffix}",
                f"tuples written a message{more}",
                written,
                "",
                2.0,
                "one insert, one delete",
            ),
        ]
    )


def _tuples(conn: psycopg.Connection[Any]) -> int:
    time.sleep(1.1)  # sessions tell their counts once a second
    row = conn.execute(_TUPLES).fetchone()
    return int(row[0]) if row else 0


def _a_process(bench: Bench, conn: psycopg.Connection[Any], report: Report) -> None:
    with fresh_schema(bench.url) as schema, Workers(bench.url, schema, queues=50) as workers:
        fill(bench, schema, messages=500, queues=50)
        workers.go()
        wait_until_done(conn, schema, 500)
        time.sleep(2.0)  # its polls are as rare as they get
        (pid,) = workers.pids()
        connections = _connections(conn)
        busy = _cpu_s(pid)
        time.sleep(IDLE_S)
        share = (_cpu_s(pid) - busy) / IDLE_S * 100
        memory = _rss_mb(pid)
        workers.stop()
        touched = _poll_buffers(bench, schema)
    report.figures.extend(
        [
            Figure(
                "connections",
                f"connections of a process, 50 queues x {bench.threads} threads",
                connections,
                "",
                50.0,
                "one a queue",
                at_most(4.0, 3.0),
            ),
            Figure(
                "memory",
                "resident memory of an idle process",
                memory,
                "MB",
                _bare_rss_mb(bench.url),
                "Python with psycopg and one connection",
                at_most(70.0, 50.0),
            ),
            Figure(
                "idle.cpu",
                "processor time of an idle process",
                share,
                "%",
                100.0,
                "one core",
                at_most(1.0, 0.3),
            ),
            Figure(
                "idle.poll",
                "server buffers a poll of an idle worker",
                touched,
                "",
                1.0,
                "reading one sequence",
                at_most(12.0, 6.0),
            ),
        ]
    )


def _connections(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^pgqueue' AND datname = current_database()"
    ).fetchone()
    return int(row[0]) if row else 0


def _poll_buffers(bench: Bench, schema: str) -> float:
    """What the question costs that an idle worker asks each second."""
    database = Database(bench.url, schema=schema)
    polls = 50
    with database.connect(application_name="pgqueue bench") as conn:
        before = _sequence_buffers(conn, schema)
        for _ in range(polls):
            registers.read(
                conn, database.statements, idle=[registers.idle_register("default", schema=schema)]
            )
        touched = _sequence_buffers(conn, schema) - before
    database.close()
    return touched / polls


def _sequence_buffers(conn: psycopg.Connection[Any], schema: str) -> int:
    conn.execute("SELECT pg_stat_force_next_flush()")
    row = conn.execute(
        "SELECT sum(blks_hit + blks_read)::bigint FROM pg_statio_user_sequences WHERE schemaname = %s",
        (schema,),
    ).fetchone()
    return int(row[0]) if row else 0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int | str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def _bare_rss_mb(url: str) -> float:
    source = (
        "import sys, psycopg; conn = psycopg.connect(sys.argv[1]); conn.execute('SELECT 1');"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
    )
    outcome = subprocess.run([sys.executable, "-c", source, url], capture_output=True, text=True, check=True)
    return int(outcome.stdout) / 1024
