"""How fast messages are sent: one by one, many at once, in transactions, by many producers, and beside busy workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg

import pgqueue
from pgqueue.storage import messages, registers
from pgqueue.storage.database import Database
from pgqueue.storage.lanes import list_lanes
from pgqueue.storage.messages import NewMessage

from . import floor
from .app import make_broker
from .figures import Figure, Line, Plot, Report, Target, interleaved
from .server import Bench, fresh_schema
from .workers import Workers

__all__ = ["measure"]

#: Messages in one `send_many`.
MANY = 1_000

_COPY = (
    "COPY {schema}.messages (id, xid, enqueued_at, message_id, lane, slot, attempts, actor_name, payload)"
    " FROM STDIN (FORMAT binary)"
)


def measure(bench: Bench) -> Report:
    """All of it, in one schema."""
    report = Report()
    with fresh_schema(bench.url) as schema:
        _one_by_one(bench, schema, report)
        _many(bench, schema, report)
        _joined(bench, schema, report)
        _producers(bench, schema, report)
    with fresh_schema(bench.url) as schema:
        _beside_busy_workers(bench, schema, report)
    return report


def _one_by_one(bench: Bench, schema: str, report: Report) -> None:
    commits = bench.count(2_000)
    if (base := _inserts(bench, commits, clients=1)) is None:
        return
    rate, inserts, ratio = interleaved(bench.rounds, partial(_send_rate, bench, schema, commits, 1), base)
    report.figures.append(
        Figure(
            "send",
            "send() one by one, one producer",
            rate,
            "1/s",
            inserts,
            "pgbench, one-row insert and commit",
            Target(reach=0.7, aim=0.9),
            ratio,
        )
    )


def _inserts(bench: Bench, commits: int, *, clients: int) -> Callable[[], float] | None:
    def rate() -> float:
        return floor.insert_rate(bench.url, commits=commits, clients=clients) or 0.0

    return rate if rate() else None


def _send_rate(bench: Bench, schema: str, commits: int, producers: int) -> float:
    broker = make_broker(bench.url, schema, results=False)
    nothing = broker.get_actor("nothing")

    def send(number: int) -> None:
        for _ in range(number):
            nothing.send(1)

    with ThreadPoolExecutor(producers) as threads:
        list(threads.map(send, [6] * producers))  # connected and prepared
        began = time.monotonic()
        list(threads.map(send, [commits // producers] * producers))
        seconds = time.monotonic() - began
    broker.close()
    return commits // producers * producers / seconds


def _many(bench: Bench, schema: str, report: Report) -> None:
    calls = bench.count(20, least=3)
    copied = _rows_to_copy()
    rate, base, ratio = interleaved(
        bench.rounds,
        partial(_send_many_rate, bench, schema, calls),
        partial(_copy_rate, bench, schema, calls, copied),
    )
    report.figures.append(
        Figure(
            "send_many",
            f"send_many of {MANY:,}",
            rate,
            "1/s",
            base,
            "binary COPY of the same rows into messages, with its indexes",
            Target(reach=0.3, aim=0.5),
            ratio,
        )
    )


def _send_many_rate(bench: Bench, schema: str, calls: int) -> float:
    broker = make_broker(bench.url, schema, results=False)
    nothing = broker.get_actor("nothing")
    nothing.send_many([(1,)] * MANY)
    began = time.monotonic()
    for _ in range(calls):
        nothing.send_many([(1,)] * MANY)
    rate = calls * MANY / (time.monotonic() - began)
    broker.close()
    return rate


def _rows_to_copy() -> list[tuple[object, ...]]:
    return [(uuid4(), floor.payload()) for _ in range(MANY)]


def _copy_rate(bench: Bench, schema: str, calls: int, rows: list[tuple[object, ...]]) -> float:
    types = ["int8", "int8", "timestamptz", "uuid", "int4", "int2", "int2", "text", "bytea"]
    with psycopg.connect(bench.url, autocommit=True) as conn:
        now = conn.execute("SELECT now(), pg_current_xact_id()::text::bigint").fetchone()
        assert now is not None
        began = time.monotonic()
        for _ in range(calls):
            with conn.cursor() as cursor, cursor.copy(_COPY.format(schema=schema)) as copy:
                copy.set_types(types)
                for number, (message_id, payload) in enumerate(rows):
                    copy.write_row((number, now[1], now[0], message_id, 1, 7, 0, "nothing", payload))
        return calls * MANY / (time.monotonic() - began)


def _joined(bench: Bench, schema: str, report: Report) -> None:
    """A send within a transaction that a program has anyway."""
    broker = make_broker(bench.url, schema, results=False)
    nothing = broker.get_actor("nothing")
    with floor.table(bench.url), psycopg.connect(bench.url) as conn:
        conn.execute(f'CREATE TABLE "{schema}".bench_orders (number integer)')
        conn.commit()

        def send() -> None:
            with pgqueue.transaction(conn):
                nothing.send(1)

        def insert() -> None:
            conn.execute("INSERT INTO pgqueue_floor (priority, payload) VALUES (0, %s)", (floor.payload(),))

        commits = bench.count(1_000)
        rate, base, ratio = interleaved(
            bench.rounds,
            partial(_transaction_rate, conn, schema, commits, send),
            partial(_transaction_rate, conn, schema, commits, insert),
        )
    broker.close()
    report.figures.append(
        Figure(
            "send.joined",
            "an application's transaction of one insert and one send()",
            rate,
            "1/s",
            base,
            "the same with a bare insert of the message's bytes in place of send()",
            Target(),
            ratio,
        )
    )


def _transaction_rate(
    conn: psycopg.Connection[Any], schema: str, commits: int, step: Callable[[], None]
) -> float:
    def run(number: int) -> None:
        conn.execute(f'INSERT INTO "{schema}".bench_orders VALUES (%s)', (number,))
        step()
        conn.commit()

    for number in range(6):
        run(number)  # prepared
    began = time.monotonic()
    for number in range(commits):
        run(number)
    return commits / (time.monotonic() - began)


def _producers(bench: Bench, schema: str, report: Report) -> None:
    ours, theirs = [], []
    for producers in (1, 2, 4, 8, 16, 32):
        commits = bench.count(1_500, least=2 * producers)
        if (base := _inserts(bench, commits, clients=producers)) is None:
            return
        rate, inserts, ratio = interleaved(
            max(1, bench.rounds // 2), partial(_send_rate, bench, schema, commits, producers), base
        )
        ours.append((float(producers), rate))
        theirs.append((float(producers), inserts))
        if producers == 32:
            report.figures.append(
                Figure(
                    "send.32",
                    "send() by 32 threads of one process",
                    rate,
                    "1/s",
                    inserts,
                    "pgbench, 32 clients, one-row insert and commit",
                    Target(),
                    ratio,
                )
            )
    lines = [Line("send() in threads of one process", ours), Line("pgbench insert", theirs)]
    report.plots.append(Plot("Sending by producers", "producers", "commits a second", lines, log_x=True))


def _beside_busy_workers(bench: Bench, schema: str, report: Report) -> None:
    """The cost of waking, which is to be nothing while workers are busy: NOTIFY makes commits wait for each other."""
    broker = make_broker(bench.url, schema, results=False)
    broker.get_actor("short").send_many([(20,)] * bench.count(60_000, least=2_000))
    broker.close()
    commits = bench.count(3_000, least=64)
    with Workers(bench.url, schema) as workers:
        workers.go()
        asking, silent, ratio = interleaved(
            bench.rounds,
            partial(
                _enqueue_rate, bench, schema, commits, [registers.idle_register("default", schema=schema)]
            ),
            partial(_enqueue_rate, bench, schema, commits, []),
        )
        workers.stop()
    report.figures.append(
        Figure(
            "send.busy",
            "32 producers while workers are busy",
            asking,
            "1/s",
            silent,
            "the same statement without the question whether to notify",
            Target(reach=0.75, aim=0.9),
            ratio,
        )
    )


def _enqueue_rate(bench: Bench, schema: str, commits: int, cells: list[str]) -> float:
    database = Database(bench.url, schema=schema)
    opened = [database.connect(application_name="pgqueue bench") for _ in range(32)]
    lane = list_lanes(opened[0], database.statements)[0]

    def send(number: int) -> None:
        for _ in range(commits // 32):
            new = NewMessage(lane.id, lane.queue_name, str(uuid4()), "short", floor.payload())
            messages.enqueue(
                opened[number],
                database.statements,
                messages=[new],
                channel=registers.channel(schema),
                registers=cells,
            )

    with ThreadPoolExecutor(32) as threads:
        began = time.monotonic()
        list(threads.map(send, range(32)))
        rate = commits // 32 * 32 / (time.monotonic() - began)
    for conn in opened:
        conn.close()
    database.close()
    return rate
