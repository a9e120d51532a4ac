"""How fast worker processes drain a full queue, against the floor of the same server in the same run."""

import multiprocessing
import os
import statistics
import time
from dataclasses import asdict, dataclass

import psycopg

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend

from . import floor
from .server import fresh_schema

#: Messages sent by one call while the queue is filled.
SEND = 5_000


@dataclass(frozen=True, slots=True)
class Drain:
    """Medians of some rounds, in messages a second; ratios of the same round's two figures."""

    messages: int
    processes: int
    threads: int
    results: bool
    rounds: int
    drained: float
    floor: float
    ratio: float
    wal_bytes_a_message: float

    def asdict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def measure(url: str, *, messages: int, processes: int, threads: int, results: bool, rounds: int) -> Drain:
    """Fill and drain ``rounds`` times, each time after the floor."""
    floors, drained, wal = [], [], []
    for _ in range(rounds):
        floors.append(floor.measure(url, messages=messages, connections=processes))
        rate, wal_bytes = _drain(
            url, messages=messages, processes=processes, threads=threads, results=results
        )
        drained.append(rate)
        wal.append(wal_bytes)
    return Drain(
        messages, processes, threads, results, rounds,
        statistics.median(drained), statistics.median(floors),
        statistics.median(rate / base for rate, base in zip(drained, floors, strict=True)),
        statistics.median(wal),
    )  # fmt: skip


def _drain(url: str, *, messages: int, processes: int, threads: int, results: bool) -> tuple[float, float]:
    with fresh_schema(url) as schema:
        broker, actor = make_broker(url, schema, results=results)
        for start in range(0, messages, SEND):
            broker.enqueue_many(actor.message(n) for n in range(start, min(start + SEND, messages)))
        broker.close()
        return _run_workers(url, schema, messages, processes=processes, threads=threads, results=results)


def make_broker(
    url: str, schema: str, *, results: bool
) -> "tuple[PostgresBroker, pgqueue.Actor[..., object]]":
    """A broker as a program makes it, with an actor that does nothing."""
    broker = PostgresBroker(url, schema=schema)
    if results:
        broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))

    @pgqueue.actor(broker=broker, actor_name="nothing")
    def nothing(number: int) -> int | None:
        return number if results else None

    return broker, nothing


def _run_workers(
    url: str, schema: str, messages: int, *, processes: int, threads: int, results: bool
) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    ready, go, stop = context.Barrier(processes + 1), context.Event(), context.Event()
    arguments = (url, schema, threads, results, ready, go, stop)
    workers = [context.Process(target=_work, args=arguments) for _ in range(processes)]
    for worker in workers:
        worker.start()
    ready.wait(60)
    with psycopg.connect(url, autocommit=True) as conn:
        before = _wal(conn)
        began = time.perf_counter()
        go.set()
        _wait_until_drained(conn, schema, messages)
        seconds = time.perf_counter() - began
        wal_bytes = (_wal(conn) - before) / messages
    stop.set()
    for worker in workers:
        worker.join(60)
    if any(worker.exitcode for worker in workers):
        raise RuntimeError(f"a worker failed: exit codes {[worker.exitcode for worker in workers]}")
    return messages / seconds, wal_bytes


def _wait_until_drained(conn: "psycopg.Connection[tuple[int]]", schema: str, messages: int) -> None:
    """Looks seldom and cheaply: at the last outcomes, not at the queue."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        row = conn.execute(
            f"SELECT reltuples FROM pg_class WHERE false UNION ALL SELECT count(*) FROM {schema}.leases"  # noqa: S608
        ).fetchone()
        if row is not None and not row[0]:
            done = conn.execute(f"SELECT count(*) FROM {schema}.outcomes").fetchone()  # noqa: S608
            if done is not None and done[0] >= messages:
                if done[0] > messages:
                    raise RuntimeError(f"{done[0]} outcomes of {messages} messages")
                return
        time.sleep(0.05)
    raise RuntimeError("the queue was not drained within five minutes")


def _wal(conn: "psycopg.Connection[tuple[int]]") -> int:
    row = conn.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").fetchone()
    return row[0] if row else 0


def _work(url, schema, threads, results, ready, go, stop) -> None:  # type: ignore[no-untyped-def]
    os.environ.pop("PGQUEUE_BOARD", None)
    broker, _ = make_broker(url, schema, results=results)
    broker.emit_after("process_boot")
    worker = pgqueue.Worker(broker, worker_threads=threads)
    ready.wait(60)
    go.wait(60)
    worker.start()
    stop.wait(600)
    worker.stop()
    broker.close()
