"""Figures of the database for Prometheus: what can stand in the way of everybody's messages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from pgqueue.storage import health, pauses, retention, slots
from pgqueue.storage.database import is_lost

if TYPE_CHECKING:
    from pgqueue.storage.database import Connection
    from pgqueue.storage.statements import Statements

__all__ = ["database_metrics"]

#: A worker that has been silent for so many seconds is in trouble: its heartbeat comes every two.
SILENT_S = 10.0

#: As `pgqueue doctor`: seconds for which a slice may hold rows whose time is over.
OUTLIVED_S = 300

#: Seconds from which no further look is begun, for whoever scrapes waits about ten.
PATIENCE_S = 8.0

#: Told of each look whether it has failed.
Watcher = Callable[[str, Exception | None], None]


def database_metrics(conn: Connection, statements: Statements, *, told: Watcher) -> Iterator[Metric]:
    """The database's state; every look is bounded, and one that fails takes no figures of others along."""
    until = time.monotonic() + PATIENCE_S
    for name, look in LOOKS.items():
        failed: Exception | None = None
        try:
            if time.monotonic() > until:
                raise TimeoutError(f"the looks before have taken more than {PATIENCE_S:g} s")
            yield from list(look(conn, statements))
        except Exception as error:
            if is_lost(error):
                raise
            failed = error
        told(name, failed)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"pgqueue_{name}", documentation, value=value)


def _gauges(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(f"pgqueue_{name}", documentation, labels=[label])
    for key, value in values.items():
        metric.add_metric([key], value)
    return metric


def _workers(conn: Connection, statements: Statements) -> Iterator[Metric]:
    signs = health.signs_of_life(conn, statements)
    alive = [sign for sign in signs if sign.silent_s < SILENT_S]
    states = {
        "alive": len(alive),
        "silent": len(signs) - len(alive),
        "polling": sum(not sign.listens for sign in alive),
    }
    yield _gauges("workers", "Worker processes; those that poll can't be woken.", "state", states)


def _unsettled(conn: Connection, statements: Statements) -> Iterator[Metric]:
    unsettled = health.unsettled(conn, statements, longer_s=0)
    yield _gauge(
        "unsettled_seconds", "For how long a worker has held a message that it does not run though it could.",
        max((each.held_s for each in unsettled), default=0),
    )  # fmt: skip


def _pauses(conn: Connection, statements: Statements) -> Iterator[Metric]:
    paused = Counter(pause.kind for pause in pauses.list_pauses(conn, statements))
    yield _gauges("paused", "What is paused.", "kind", {kind: paused[kind] for kind in ("queue", "actor")})


def _ring(conn: Connection, statements: Statements) -> Iterator[Metric]:
    ring = slots.list_slots(conn, statements)
    states = Counter(slot.state for slot in ring)
    yield _gauges(
        "slots",
        "Slots of the ring.",
        "state",
        {state: states[state] for state in ("open", "closing", "free")},
    )
    closing = [slot.age_s for slot in ring if slot.state == "closing"]
    yield _gauge(
        "slot_closing_seconds", "For how long a slot has been waiting to be emptied.", max(closing, default=0)
    )


def _scheduled(conn: Connection, statements: Statements) -> Iterator[Metric]:
    _, overdue_s = health.overdue(conn, statements, grace_s=0, most=1)
    yield _gauge(
        "overdue_seconds", "For how long a scheduled message has been due and not ready.", overdue_s or 0
    )


def _retention(conn: Connection, statements: Statements) -> Iterator[Metric]:
    late = retention.outlived(conn, statements, for_s=OUTLIVED_S)
    yield _gauge(
        "outlived_slices", "Slices of outcomes and results that should have been emptied.", len(late)
    )


def _snapshots(conn: Connection, statements: Statements) -> Iterator[Metric]:
    holders = health.snapshot_holders(conn, statements)
    yield _gauge(
        "oldest_snapshot_seconds", "The age of the oldest transaction that keeps a snapshot.",
        max((each.age_s or 0 for each in holders), default=0),
    )  # fmt: skip
    yield _gauge(
        "oldest_snapshot_transactions", "How many transactions the oldest snapshot goes back.",
        max((each.age_xids or 0 for each in holders), default=0),
    )  # fmt: skip


def _idle(conn: Connection, statements: Statements) -> Iterator[Metric]:
    idle = health.idle_transactions(conn, statements, longer_s=1)
    yield _gauge(
        "idle_transaction_seconds", "For how long a session has been idle in a transaction.",
        max((session.seconds for session in idle), default=0),
    )  # fmt: skip


def _server(conn: Connection, statements: Statements) -> Iterator[Metric]:
    server = health.server(conn, statements)
    yield _gauge(
        "notification_queue_ratio", "How full the server's queue of notifications is.", server.notify_usage
    )
    yield _gauge("connections", "Connections of all programs to the server.", server.connections)
    yield _gauge("max_connections", "The most connections that the server takes.", server.max_connections)
    yield _gauge("read_only", "1 if the server takes no writes.", server.read_only)
    yield _gauge(
        "clock_difference_seconds", "How far this machine's clock is ahead of the server's.",
        time.time() - server.clock_s,
    )  # fmt: skip


def _locks(conn: Connection, statements: Statements) -> Iterator[Metric]:
    yield _gauge(
        "lock_table_ratio", "How full the server's table of locks is.", health.locks(conn, statements).share
    )


def _disk(conn: Connection, statements: Statements) -> Iterator[Metric]:
    full = health.disk_is_full(conn, statements)
    yield _gauge("disk_full", "1 if the server can't write files.", full is not None)


#: The looks, by what they look at.
LOOKS: Mapping[str, Callable[[Connection, Statements], Iterator[Metric]]] = {
    "workers": _workers,
    "unsettled messages": _unsettled,
    "pauses": _pauses,
    "slots": _ring,
    "scheduled messages": _scheduled,
    "retention": _retention,
    "snapshots": _snapshots,
    "idle transactions": _idle,
    "the server": _server,
    "locks": _locks,
    "the disk": _disk,
}
