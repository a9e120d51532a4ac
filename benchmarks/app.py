"""The program whose workers are measured: ``pgqueue benchmarks.app``, told by the environment where and what."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psycopg

import pgqueue
from pgqueue import Middleware
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend

__all__ = ["GATE", "make_broker"]

#: The advisory lock behind which workers wait, all connections open, until all of them may begin.
GATE = 0x70677162656E6368


class Gate(Middleware):
    """Holds a worker back just before its first claim, while the benchmark holds the gate's lock."""

    def __init__(self, url: str) -> None:
        self._url = url

    def after_consumer_thread_boot(self, broker: Any, thread: Any) -> None:  # noqa: ARG002
        with psycopg.connect(self._url, autocommit=True, application_name="pgqueue gate") as conn:
            conn.execute("SELECT pg_advisory_lock_shared(%s)", (GATE,))


class Stamps(Middleware):
    """Writes what the actor ``timed`` noted into a file, at the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def before_worker_shutdown(self, broker: Any, worker: Any) -> None:  # noqa: ARG002
        (self._directory / f"{os.getpid()}.json").write_text(json.dumps(stamps))


#: For each run of ``timed`` what it was given, and the monotonic clock at its begin and end, in seconds.
stamps: list[tuple[float, float, float]] = []


def make_broker(url: str, schema: str, *, results: bool, queues: int = 1) -> PostgresBroker:
    """A broker as programs make it, with actors that do next to nothing."""
    broker = PostgresBroker(url, schema=schema, max_connections=40)
    if results:
        broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))

    @pgqueue.actor(broker=broker)
    def nothing(number: int) -> int | None:
        return number if results else None

    @pgqueue.actor(broker=broker)
    def timed(stamp: float) -> float | None:
        began = time.monotonic()
        stamps.append((stamp, began, time.monotonic()))
        return stamp if results else None

    pgqueue.actor(broker=broker, actor_name="quiet", queue_name="quiet")(timed.fn)

    @pgqueue.actor(broker=broker)
    def short(milliseconds: float) -> None:
        time.sleep(milliseconds / 1000)

    _add_writers(broker)
    for number in range(1, queues):
        pgqueue.actor(broker=broker, actor_name=f"nothing_{number}", queue_name=f"queue_{number}")(nothing.fn)
    return broker


def _add_writers(broker: PostgresBroker) -> None:
    """Actors that write one row, or nothing, in the transaction of their ack, and one that does so in its own."""
    insert = f'INSERT INTO "{broker.database.schema}".bench_effects VALUES (%s)'.encode()

    @pgqueue.actor(broker=broker, transactional=True)
    def untouched(_: int) -> None: ...

    @pgqueue.actor(broker=broker, transactional=True)
    def begun(_: int) -> None:
        pgqueue.current_transaction().connection.info  # noqa: B018  # to ask is to begin

    @pgqueue.actor(broker=broker, transactional=True)
    def write_with_ack(number: int) -> None:
        pgqueue.current_transaction().connection.execute(insert, (number,))

    @pgqueue.actor(broker=broker)
    def write_before_ack(number: int) -> None:
        with broker.database.connection() as conn:
            conn.execute(insert, (number,))


def _from_environment() -> PostgresBroker | None:
    url = os.environ.get("PGQUEUE_BENCH_URL")
    if url is None:
        return None
    broker = make_broker(
        url,
        os.environ["PGQUEUE_BENCH_SCHEMA"],
        results=os.environ["PGQUEUE_BENCH_RESULTS"] == "1",
        queues=int(os.environ["PGQUEUE_BENCH_QUEUES"]),
    )
    broker.add_middleware(Gate(url))
    broker.add_middleware(Stamps(Path(os.environ["PGQUEUE_BENCH_STAMPS"])))
    pgqueue.set_broker(broker)
    return broker


broker = _from_environment()
