"""Fixtures that every test may use; what they are made of is in tests/support."""

import gc
import importlib
import json
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings

from pgqueue.broker import Broker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.worker import Worker

from .support import warm
from .support.effects import Effects
from .support.postgres import Databases, server_url
from .support.processes import Process, processes

WorkerFor = Callable[..., Worker]


# How quickly Hypothesis draws says something about the machine. With CI set it takes care of that itself.
if not os.environ.get("CI"):
    settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy machine")

# A shell that runs us in the background has us ignore Ctrl-C, and all that tests start with us.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same of nohup and the closing of a terminal.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# ── The run ───────────────────────────────────────────────────────────────────────────────────────


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage once after thousands of tests were found, not after every 700 objects: that halves the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()  # also the little that is garbage: to look for it takes each process a tenth of a second


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless everything is to run in full; drills are made for being more or less."""
    level = os.environ.get("PGQUEUE_DRILLS", "short")
    if level in {"full", "reach"}:
        return
    kept = {"drill"} if level == "usual" else set()
    long = [item for item in items if item.get_closest_marker("long") and not kept & set(item.keywords)]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_sessionfinish() -> None:
    """End the interpreter that programs of the tests were forked from."""
    warm.end()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Append what a drill found to the file that PGQUEUE_DRILL_REPORT names, at once: all of them may take hours."""
    file = os.environ.get("PGQUEUE_DRILL_REPORT")
    if file and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(file).open("a") as out:
            out.writelines(f"{line}\n" for line in found_by_drill(report))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the drills found."""
    reports = [
        line
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for line in found_by_drill(report)
    ]
    if reports:
        terminalreporter.section("drills")
    for line in map(json.loads, reports):
        terminalreporter.write_line(str(line.pop("drill")), bold=True)
        terminalreporter.write_line("  " + ", ".join(f"{name} {value}" for name, value in line.items()))


def found_by_drill(report: pytest.TestReport) -> list[str]:
    """The lines of JSON that a test has left with its report."""
    return [str(value) for name, value in report.user_properties if name == "drill" and report.when == "call"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let reports travel between the processes of a run though a test logs what no encoding knows."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


# ── Databases ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server on which tests may create databases."""
    with server_url() as url:
        yield url


@pytest.fixture(scope="session")
def databases(postgres_url: str) -> Iterator[Databases]:
    """The maker of databases, for tests that need more than one."""
    made = Databases(postgres_url)
    yield made
    made.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A migrated database of the test's own."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """A database of the test's own, in which nothing has been created."""
    url = databases.create(migrated=False)
    yield url
    databases.drop(url)


@pytest.fixture
def effects(database_url: str) -> Iterator[Effects]:
    """A table of the application's own in the test's database."""
    made = Effects(database_url)
    yield made
    made.close()


# ── Brokers ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def as_global_broker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Broker], None]:
    """Make a broker the process's broker until the end of the test."""

    def set_for_the_test(broker: Broker) -> None:
        monkeypatch.setattr(importlib.import_module("pgqueue.broker"), "global_broker", broker)

    return set_for_the_test


@pytest.fixture
def running_workers() -> list[Worker]:
    """The workers that the test has started; they end before their broker, in whatever order a test names both."""
    return []


def stop_all(workers: list[Worker]) -> None:
    """Stop workers, the youngest first."""
    while workers:
        workers.pop().stop()


@pytest.fixture
def stub_broker(
    as_global_broker: Callable[[Broker], None], running_workers: list[Worker]
) -> Iterator[StubBroker]:
    """A broker in memory; it is the process's broker meanwhile."""
    broker = StubBroker()
    broker.emit_after("process_boot")
    as_global_broker(broker)
    yield broker
    stop_all(running_workers)
    broker.flush_all()
    broker.close()


@pytest.fixture
def postgres_broker(
    database_url: str, as_global_broker: Callable[[Broker], None], running_workers: list[Worker]
) -> Iterator[PostgresBroker]:
    """A broker on a migrated database; it is the process's broker meanwhile."""
    broker = PostgresBroker(database_url)
    broker.emit_after("process_boot")
    as_global_broker(broker)
    yield broker
    stop_all(running_workers)
    broker.close()


@pytest.fixture(params=["stub", "postgres"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn, for suites that all of them must pass."""
    return cast(Broker, request.getfixturevalue(f"{request.param}_broker"))


# ── Workers and programs ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def worker_for(running_workers: list[Worker]) -> Iterator[WorkerFor]:
    """Start workers: ``worker_for(broker, worker_threads=2)``; all are stopped after the test."""

    def start(broker: Broker, **options: Any) -> Worker:
        worker = Worker(broker, **{"worker_timeout": 100, **options})
        running_workers.append(worker)
        worker.start()
        return worker

    yield start
    stop_all(running_workers)


@pytest.fixture
def stub_worker(stub_broker: StubBroker, worker_for: WorkerFor) -> Worker:
    """A running worker on ``stub_broker``."""
    return worker_for(stub_broker, worker_threads=32)


@pytest.fixture
def postgres_worker(postgres_broker: Broker, worker_for: WorkerFor) -> Worker:
    """A running worker on ``postgres_broker``."""
    return worker_for(postgres_broker)


@pytest.fixture
def worker(broker: Broker, worker_for: WorkerFor) -> Worker:
    """A running worker on ``broker``."""
    return worker_for(broker)


@pytest.fixture
def programs() -> Iterator[list[Process]]:
    """A list; programs put into it are ended after the test."""
    with processes() as started:
        yield started
