"""Figures of queues and of their database for Prometheus, asked of the database when somebody scrapes.

A deployment may serve metrics at many places, one for each program; only the one whose connection holds an advisory
lock exports these, so that sums over all places are right. If it ends, the next scrape of another one takes over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pgqueue.logging import own_logger
from pgqueue.storage import queues
from pgqueue.storage.database import Connection, Database, is_lost, translated

from .database import database_metrics

if TYPE_CHECKING:
    from pgqueue.broker import Broker
    from pgqueue.storage.queues import QueueFigures

__all__ = ["QueueCollector", "collector_of", "variables_for"]

#: Where the exposition process learns of the database. The workers' broker says, unless these are set.
URL, SCHEMA = "pgqueue_prom_url", "pgqueue_prom_schema"

#: Counts stop here, so that a scrape of a queue of millions takes milliseconds.
MOST = 100_000

#: Each metric: name, documentation, and its value of a queue.
GAUGES: Sequence[tuple[str, str, Callable[[QueueFigures], float]]] = (
    ("ready", "Messages that could be run now.", lambda queue: queue.ready),
    (
        "oldest_ready_age_seconds",
        "For how long the oldest ready message could have been run; 0 if none is ready.",
        lambda queue: queue.oldest_age_s or 0,
    ),
    (
        "scheduled",
        "Messages that are not due yet, among the next to come due.",
        lambda queue: queue.scheduled,
    ),
    ("inprogress", "Messages that workers hold.", lambda queue: queue.leased),
    ("dead_letters", "Messages given up and kept.", lambda queue: queue.dead),
)


def variables_for(broker: Broker) -> dict[str, str]:
    """What the exposition process must know about a broker's database; nothing if it has none."""
    database: Any = getattr(broker, "database", None)
    return {URL: database.url, SCHEMA: database.schema} if isinstance(database, Database) else {}


def collector_of(environment: Mapping[str, str] = os.environ) -> QueueCollector | None:
    """The collector for the database that the environment names; None if it names none."""
    url = environment.get(URL)
    return QueueCollector(Database(url, schema=environment.get(SCHEMA) or "pgqueue")) if url else None


class QueueCollector(Collector):
    """Measures queues whenever it is asked, if no other session of the deployment does. Safe to ask from any thread."""

    def __init__(self, database: Database, *, most: int = MOST) -> None:
        self.logger = own_logger(__name__, type(self))
        self._database = database
        self._most = most
        self._conn: Connection | None = None
        self._chosen = False
        self._failing: set[str] = set()
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Return the figures; nothing where another place exports them, or while the database can't be asked."""
        with self._lock:
            try:
                metrics = self._measure()
            except Exception as error:  # noqa: BLE001  # the program's own figures are told nevertheless
                self._disconnect()
                self._tell("queues", error)
                return []
            self._tell("queues", None)
        return metrics

    def close(self) -> None:
        """Let another place export the figures."""
        with self._lock:
            self._disconnect()

    def _measure(self) -> list[Metric]:
        with translated(self._database):
            if self._conn is None:
                self._conn = self._database.connect(
                    application_name="pgqueue metrics", settings=queues.MEASURING
                )
            statements = self._database.statements
            self._chosen = self._chosen or queues.try_measure(self._conn, statements)
            if not self._chosen:
                return []
            return [
                *self._queued(self._conn),
                *database_metrics(self._conn, statements, told=self._tell),
            ]

    def _queued(self, conn: Connection) -> list[Metric]:
        failed: Exception | None = None
        metrics: list[Metric] = []
        try:
            metrics = list(_metrics(queues.figures(conn, self._database.statements, most=self._most)))
        except Exception as error:
            if is_lost(error):
                raise
            failed = error
        self._tell("queued messages", failed)
        return metrics

    def _tell(self, what: str, failed: Exception | None) -> None:
        if failed is None:
            self._failing.discard(what)
        elif what not in self._failing:
            self._failing.add(what)
            self.logger.warning("No figures of %s until the database can be asked again: %s", what, failed)

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
        self._conn, self._chosen = None, False


def _metrics(figures: Sequence[QueueFigures]) -> Iterable[Metric]:
    for name, documentation, value in GAUGES:
        metric = GaugeMetricFamily(f"pgqueue_queue_{name}", documentation, labels=["queue_name"])
        for queue in figures:
            metric.add_metric([queue.queue_name], value(queue))
        yield metric
