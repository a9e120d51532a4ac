"""Metrics of messages, written by workers and served by a process of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import values

import pgqueue
from pgqueue.broker import MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.faults import Fault
from pgqueue.logging import own_logger
from pgqueue.middleware import prometheus
from pgqueue.middleware.prometheus import Prometheus
from pgqueue.middleware.prometheus.directory import directory as shared_directory
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.metrics import free_port, scrape
from tests.support.processes import ended


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the metrics; the library is as before afterwards."""
    directory = tmp_path / "prom"
    monkeypatch.setenv("pgqueue_prom_db", str(directory))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    return directory


@pytest.fixture
def middleware(stub_broker: StubBroker, directory: Path) -> Prometheus:
    middleware = Prometheus()
    stub_broker.add_middleware(middleware)
    middleware.after_process_boot(stub_broker)
    return middleware


@pytest.fixture
def port(directory: Path) -> Iterator[int]:
    with prometheus._serving(directory, "127.0.0.1", 0) as port:
        yield port


def of(metric: str, actor_name: str = "work", queue_name: str = "default") -> str:
    return f'pgqueue_{metric}{{actor_name="{actor_name}",queue_name="{queue_name}"}}'


def test_what_becomes_of_messages_is_counted(
    stub_broker: StubBroker, middleware: Prometheus, port: int, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(max_retries=2, min_backoff=1, max_backoff=1)
    def work(fails: bool) -> None:
        if fails:
            raise ValueError("no")

    work.send(False)
    work.send(True)
    worker = worker_for(stub_broker)
    stub_broker.join("default", fail_fast=False)
    worker.stop()
    metrics = scrape(port)
    assert metrics[of("messages_total")] == 4
    assert metrics[of("message_errors_total")] == 3
    assert metrics[of("message_retries_total")] == 2
    assert metrics[of("message_rejects_total")] == 1
    assert metrics[of("messages_inprogress")] == 0
    assert metrics[of("delayed_messages_inprogress")] == 0
    assert metrics[of("message_duration_milliseconds_count")] == 4


@pytest.mark.usefixtures("middleware")
def test_faults_are_counted_from_zero_on(port: int) -> None:
    series = 'pgqueue_faults_total{fault="lease_lost"}'
    assert scrape(port)[series] == 0
    own_logger("tests").error("lost", fault=Fault.LEASE_LOST)
    assert scrape(port)[series] == 1


def test_messages_in_progress_are_a_gauge(
    stub_broker: StubBroker, middleware: Prometheus, port: int, worker_for: WorkerFor
) -> None:
    started, finish = threading.Event(), threading.Event()

    @pgqueue.actor
    def work() -> None:
        started.set()
        assert finish.wait(5)

    work.send()
    worker_for(stub_broker)
    assert started.wait(5)
    assert scrape(port)[of("messages_inprogress")] == 1
    finish.set()
    stub_broker.join("default")
    assert scrape(port)[of("messages_inprogress")] == 0


def test_one_thread_counts_at_a_time(
    stub_broker: StubBroker, worker_for: WorkerFor, middleware: Prometheus
) -> None:
    begun = threading.Event()

    @pgqueue.actor(broker=stub_broker)
    def work() -> None:
        begun.set()

    worker_for(stub_broker)
    assert middleware._metrics is not None
    with middleware._metrics.together:
        work.send()
        assert not begun.wait(0.1)
    assert begun.wait(30)


def test_delayed_messages_are_of_their_queue_until_they_leave(
    stub_broker: StubBroker, middleware: Prometheus, port: int
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    message = work.message()
    delayed = MessageProxy(message.copy(queue_name="default.DQ"))
    middleware.before_delay_message(stub_broker, delayed)
    assert scrape(port)[of("delayed_messages_inprogress")] == 1
    middleware.after_ack(stub_broker, MessageProxy(message))
    assert scrape(port)[of("delayed_messages_inprogress")] == 1
    middleware.after_ack(stub_broker, delayed)
    middleware.after_ack(stub_broker, delayed)
    assert scrape(port)[of("delayed_messages_inprogress")] == 0


def test_durations_have_nineteen_buckets(stub_broker: StubBroker, middleware: Prometheus, port: int) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    message = MessageProxy(work.message())
    middleware.before_process_message(stub_broker, message)
    middleware.after_process_message(stub_broker, message)
    buckets = [
        name for name in scrape(port) if name.startswith("pgqueue_message_duration_milliseconds_bucket")
    ]
    assert len(buckets) == 19
    assert any('le="900000.0"' in name for name in buckets)


def test_a_message_that_was_skipped_by_a_hook_before_ours_was_not_in_progress(
    stub_broker: StubBroker, middleware: Prometheus, port: int
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    middleware.after_skip_message(stub_broker, MessageProxy(work.message()))
    metrics = scrape(port)
    assert metrics[of("messages_total")] == 1
    assert metrics[of("messages_inprogress")] == 0


def test_nothing_is_counted_where_no_process_was_booted(stub_broker: StubBroker) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    idle, message = Prometheus(), MessageProxy(work.message_with_options(retries=1))
    idle.before_enqueue(stub_broker, message, 0)
    idle.before_delay_message(stub_broker, message)
    idle.before_process_message(stub_broker, message)
    idle.after_process_message(stub_broker, message)
    idle.after_skip_message(stub_broker, message)
    idle.after_ack(stub_broker, message)
    idle.after_nack(stub_broker, message)


def test_any_path_serves_the_metrics(stub_broker: StubBroker, middleware: Prometheus, port: int) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    middleware.after_nack(stub_broker, MessageProxy(work.message()))
    assert scrape(port, "/anything/else") == scrape(port)


def a_dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_dead_processes_left_behind_is_removed(directory: Path) -> None:
    dead, alive = a_dead_pid(), os.getpid()
    directory.mkdir()
    for pid in (dead, alive):
        for kind in ("counter", "gauge_livesum", "histogram"):
            (directory / f"{kind}_{pid}.db").touch()
    (directory / "note.txt").touch()
    assert {path.name for path in prometheus._dead_files(directory, kinds="gauge_live")} == {
        f"gauge_livesum_{dead}.db"
    }
    prometheus._remove_files(prometheus._dead_files(directory, kinds=""))
    assert {path.name for path in directory.iterdir()} == {
        "note.txt",
        f"counter_{alive}.db",
        f"gauge_livesum_{alive}.db",
        f"histogram_{alive}.db",
    }


def expose(directory: Path, port: int) -> subprocess.Popen[str]:
    """Start the process that the command line forks."""
    program = (
        "import logging, sys; logging.basicConfig(level=logging.INFO);"
        "from pgqueue.middleware.prometheus import Prometheus;"
        "sys.exit(Prometheus().forks[0]())"
    )
    environment = {
        **os.environ,
        "pgqueue_prom_db": str(directory),
        "pgqueue_prom_host": "127.0.0.1",
        "pgqueue_prom_port": str(port),
    }
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True
    )


def test_a_process_of_its_own_serves_the_metrics_until_told_to_stop(
    stub_broker: StubBroker, middleware: Prometheus, directory: Path
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    middleware.after_nack(stub_broker, MessageProxy(work.message()))
    port = free_port()
    with ended(expose(directory, port)) as process:
        try:

            def served() -> None:
                try:
                    assert scrape(port)[of("message_rejects_total")] == 1
                except OSError as error:
                    raise AssertionError from error

            eventually(served, within_s=15)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_port_in_use_is_reported_with_the_way_out(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = occupant.getsockname()[1]
        with ended(expose(directory, port)) as process:
            _, errors = process.communicate(timeout=15)
    assert process.returncode == 1
    assert f"Can't serve metrics at 127.0.0.1:{port}" in errors
    assert "pgqueue_prom_port" in errors
    assert "Traceback" not in errors


def test_the_metrics_are_dramatiqs_but_for_the_prefix(
    stub_broker: StubBroker, middleware: Prometheus, port: int, directory: Path
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    message = MessageProxy(work.message())
    middleware.before_process_message(stub_broker, message)
    middleware.after_process_message(stub_broker, message)
    names = {name for name in scrape(port) if "work" in name and "_bucket" not in name}
    assert names >= {
        of("messages_total"),
        of("message_errors_total"),
        of("message_retries_total"),
        of("message_rejects_total"),
        of("messages_inprogress"),
        of("delayed_messages_inprogress"),
        of("message_duration_milliseconds_count"),
        of("message_duration_milliseconds_sum"),
    }
    assert [path.name.rpartition("_")[0] for path in directory.glob("gauge_*")] == ["gauge_livesum"]
    *limits, infinity = prometheus.DURATION_BUCKETS
    assert limits[:9] == [5, 10, 25, 50, 75, 100, 250, 500, 750]
    assert limits[9:] == [1000, 2500, 5000, 7500, 10_000, 30_000, 60_000, 600_000, 900_000]
    assert infinity == float("inf")


def test_where_the_metrics_are_served_unless_told_otherwise() -> None:
    assert prometheus.DEFAULT_HOST == "0.0.0.0"  # noqa: S104  # Prometheus asks from another machine
    assert prometheus.DEFAULT_PORT == 9191
    assert [fork.__name__ for fork in Prometheus().forks] == ["_run_exposition_server"]


def test_by_default_the_metrics_are_in_the_directory_of_temporary_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("pgqueue_prom_db", "dramatiq_prom_db", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert shared_directory().name == f"pgqueue-prometheus-{os.geteuid()}"
    monkeypatch.setenv("dramatiq_prom_db", "/of/old")
    assert shared_directory() == Path("/of/old")
