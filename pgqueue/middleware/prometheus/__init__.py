"""Counts and times messages for Prometheus, over all processes of a program.

Each worker process writes its numbers to files of its own; a further process sums them up and serves them over
HTTP, with figures of the queues that it asks the database for. The only package that imports prometheus_client; not
imported unless a program asks for it.

Environment, read when a process boots: ``pgqueue_prom_db`` (the directory of the files), ``pgqueue_prom_host`` and
``pgqueue_prom_port`` (where metrics are served), ``pgqueue_prom_url`` and ``pgqueue_prom_schema`` (the database whose
queues are measured, for example with a role that may only read; otherwise the one of the workers' broker).
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event, get_ident
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from pgqueue._locks import Entered
from pgqueue.common import dq_name, getenv_int, q_name
from pgqueue.errors import BadSetting
from pgqueue.faults import Fault, watch
from pgqueue.logging import own_logger

from ..middleware import Middleware
from .directory import made_directory, variable
from .queues import QueueCollector, collector_of, variables_for

if TYPE_CHECKING:
    from pgqueue.broker import Broker, MessageProxy

    from ..middleware import AnyMessage

__all__ = ["Prometheus"]

#: Where metrics are served unless told otherwise.
DEFAULT_HOST = "0.0.0.0"  # noqa: S104  # Prometheus asks from another machine
DEFAULT_PORT = 9191

LABELS = ("queue_name", "actor_name")

#: Upper limits of the histogram's buckets, in milliseconds.
DURATION_BUCKETS = (
    *(5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500),
    *(10_000, 30_000, 60_000, 600_000, 900_000, float("inf")),
)

#: prometheus_client names its files by kind and process: ``counter_123.db``, ``gauge_livesum_123.db``.
FILE_NAME = re.compile(r"(?P<kind>\w+)_(?P<pid>\d+)\.db")

logger = own_logger(__name__)


@dataclass(frozen=True, slots=True)
class Series:
    """The metrics of one actor's messages in one queue."""

    total: Counter
    errors: Counter
    retries: Counter
    rejects: Counter
    in_progress: Gauge
    delayed: Gauge
    duration: Histogram


class Metrics:
    """Every metric there is, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        #: Held around what is counted for each message: the library's locks, of which one is that of all metrics, are
        #: then free for whoever has it.
        self.together = Entered()

        def counter(name: str, documentation: str) -> Counter:
            return Counter(name, documentation, LABELS, registry=registry)

        def gauge(name: str, documentation: str) -> Gauge:
            return Gauge(name, documentation, LABELS, registry=registry, multiprocess_mode="livesum")

        self._all: tuple[Any, ...] = (
            counter("pgqueue_messages_total", "Messages processed, retries included."),
            counter("pgqueue_message_errors_total", "Messages whose actor raised an error."),
            counter("pgqueue_message_retries_total", "Messages enqueued again after an error."),
            counter("pgqueue_message_rejects_total", "Messages that went to the dead letters."),
            gauge("pgqueue_messages_inprogress", "Messages being processed."),
            gauge("pgqueue_delayed_messages_inprogress", "Delayed messages in the memory of workers."),
            Histogram(
                "pgqueue_message_duration_milliseconds",
                "How long processing a message took.",
                LABELS,
                registry=registry,
                buckets=DURATION_BUCKETS,
            ),
        )
        self._series: dict[tuple[str, str], Series] = {}
        faults = Counter(
            "pgqueue_faults_total",
            "Faults, each of which is a line in the log, too.",
            ["fault"],
            registry=registry,
        )
        # From 0 on, or Prometheus would not see the first one as an increase.
        self._faults = {fault: faults.labels(str(fault)) for fault in Fault}

    def count_fault(self, fault: Fault) -> None:
        """Count a fault."""
        self._faults[fault].inc()

    def of(self, message: AnyMessage) -> Series:
        """Return the metrics of a message's kind; delayed ones are of the same kind as others."""
        key = q_name(message.queue_name), message.actor_name
        if key not in self._series:
            self._series[key] = Series(*(metric.labels(*key) for metric in self._all))
        return self._series[key]


class Prometheus(Middleware):
    """Keeps metrics about messages; the command line serves them, by default at port 9191.

    Nothing is counted in a process that has not called ``process_boot``.
    """

    def __init__(self) -> None:
        self.logger = own_logger(__name__, type(self))
        self._metrics: Metrics | None = None
        self._delayed: set[str] = set()
        self._started: dict[int, float] = {}
        self._broker: Broker | None = None

    @property
    def forks(self) -> list[Callable[[], int | None]]:
        """The process that serves the metrics."""
        return [_run_exposition_server]

    @property
    def fork_environment(self) -> Mapping[str, str]:
        """The database whose queues the process that serves the metrics measures."""
        return {} if self._broker is None else variables_for(self._broker)

    def after_process_boot(self, broker: Broker) -> None:
        """Create the metrics, in files that are shared with the process that serves them."""
        directory = made_directory()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        # The library has decided when it was imported, which was before the variable was set.
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        self._metrics = Metrics()
        watch(self._metrics.count_fault)
        self._broker = broker

    def before_enqueue(self, broker: Broker, message: AnyMessage, delay: int | None) -> None:
        """Count a retry. Retries have a delay, be it 0; without one, it is an earlier retry that is due."""
        if self._metrics is not None and delay is not None and message.options.get("retries"):
            self._metrics.of(message).retries.inc()

    def before_delay_message(self, broker: Broker, message: MessageProxy) -> None:
        """Count a delayed message in memory."""
        if self._metrics is not None:
            self._delayed.add(message.message_id)
            self._metrics.of(message).delayed.inc()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Count a message in progress, and start its clock."""
        if self._metrics is not None:
            with self._metrics.together:
                self._metrics.of(message).in_progress.inc()
            self._started[get_ident()] = time.monotonic()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Count a processed message and stop its clock."""
        if self._metrics is None:
            return
        started = self._started.pop(get_ident(), None)
        took_ms = None if started is None else (time.monotonic() - started) * 1000
        with self._metrics.together:
            series = self._metrics.of(message)
            series.total.inc()
            if exception is not None:
                series.errors.inc()
            # Without it, a hook before ours has failed the message.
            if took_ms is not None:
                series.in_progress.dec()
                series.duration.observe(took_ms)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Count a skipped message like any other."""
        self.after_process_message(broker, message)

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        """Notice that a delayed message was due and has left for its queue."""
        self._forget_delayed(message)

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Count a message that went to the dead letters."""
        if self._metrics is not None:
            self._metrics.of(message).rejects.inc()
            self._forget_delayed(message)

    def _forget_delayed(self, message: MessageProxy) -> None:
        # A message on its way to a retry has the same id, but not the name of a delay queue.
        if self._metrics is None or message.queue_name != dq_name(message.queue_name):
            return
        if message.message_id in self._delayed:
            self._delayed.discard(message.message_id)
            self._metrics.of(message).delayed.dec()


def _run_exposition_server() -> int:
    """Serve the metrics until told to stop; the command line runs this in a process of its own."""
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    # Ctrl-C reaches every process of the terminal; the main one tells us in its own way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    host, port = _address()
    try:
        with _queue_collector() as queues, _serving(made_directory(), host, port, queues):
            logger.info("Metrics are served at http://%s:%d/metrics.", host, port)
            stopping.wait()
    except BadSetting as error:
        logger.critical("Can't serve metrics: %s", error)
        return 1
    except OSError as error:
        logger.critical(
            "Can't serve metrics at %s:%d: %s. Set pgqueue_prom_port to a free port.", host, port, error
        )
        return 1
    return 0


@contextmanager
def _queue_collector() -> Iterator[QueueCollector | None]:
    """The collector for the database that the environment names, if it does."""
    collector = collector_of()
    with closing(collector) if collector is not None else nullcontext():
        yield collector


@contextmanager
def _serving(directory: Path, host: str, port: int, queues: QueueCollector | None = None) -> Iterator[int]:
    """Serve the metrics in ``directory`` at any path, from threads, and those of queues; yields the port."""
    # Numbers of an earlier run are not of this program's.
    _remove_files(_dead_files(directory, kinds=""))
    registry = CollectorRegistry()
    registry.register(LiveProcesses(directory))
    if queues is not None:
        registry.register(queues)
    server, thread = start_http_server(port, host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class LiveProcesses(Collector):
    """Sums the metrics of all processes up; gauges only of those that still live, however the others ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Return the sums."""
        _remove_files(_dead_files(self._directory, kinds="gauge_live"))
        collector = MultiProcessCollector(None, path=str(self._directory))  # type: ignore[no-untyped-call]
        metrics: Iterable[Metric] = collector.collect()  # type: ignore[no-untyped-call]
        return metrics


def _address() -> tuple[str, int]:
    """Return where metrics are served: host and port."""
    return variable("prom_host") or DEFAULT_HOST, getenv_int("pgqueue_prom_port", DEFAULT_PORT)


def _dead_files(directory: Path, *, kinds: str) -> list[Path]:
    """Return the files of processes that have ended, of the kinds that start like that."""
    files = [(path, FILE_NAME.fullmatch(path.name)) for path in directory.iterdir()]
    return [
        path
        for path, name in files
        if name and name["kind"].startswith(kinds) and not _is_alive(int(name["pid"]))
    ]


def _remove_files(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        # There, signal 0 is Ctrl-C.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
