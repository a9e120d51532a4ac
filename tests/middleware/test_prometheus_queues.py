"""Figures of queues: asked of the database, exported at one place of a deployment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware.prometheus import Prometheus, database
from pgqueue.middleware.prometheus.queues import QueueCollector, collector_of, variables_for
from pgqueue.storage import health, queues
from pgqueue.storage.database import Connection, Database
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.metrics import free_port, scrape
from tests.support.processes import Process
from tests.support.project import Project, stop

CollectorFor = Callable[..., QueueCollector]

APP = """
import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware.prometheus import Prometheus
broker = PostgresBroker({url!r})
broker.add_middleware(Prometheus())
pgqueue.set_broker(broker)
"""


@pytest.fixture
def collector_for(database_url: str) -> Iterator[CollectorFor]:
    """The maker of collectors for the test's database."""
    made: list[QueueCollector] = []

    def make(**options: int) -> QueueCollector:
        collector = QueueCollector(Database(database_url), **options)
        made.append(collector)
        return collector

    yield make
    for collector in made:
        collector.close()


def figures(collector: QueueCollector, queue_name: str = "default") -> dict[str, float]:
    """What a scrape tells of a queue."""
    return {
        sample.name.removeprefix("pgqueue_queue_"): sample.value
        for metric in collector.collect()
        for sample in metric.samples
        if sample.labels == {"queue_name": queue_name}
    }


def test_ready_scheduled_running_and_dead_messages_are_told_by_queue(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, collector_for: CollectorFor
) -> None:
    started, finish = threading.Event(), threading.Event()

    @pgqueue.actor(max_retries=0)
    def work(fails: bool) -> None:
        if fails:
            raise ValueError("no")
        started.set()
        assert finish.wait(15)

    @pgqueue.actor(queue_name="other", priority=3)
    def later() -> None:
        pass

    work.send(True)
    worker = worker_for(postgres_broker, worker_threads=1, queues={"default"})
    postgres_broker.join("default", timeout=15_000)
    work.send(False)
    assert started.wait(15)
    later.send()
    later.send_with_options(delay=60_000)
    later.send_with_options(delay=60_000)
    later.send_with_options(broker_priority=7)
    collector = collector_for()
    running = figures(collector)
    assert (running["ready"], running["inprogress"], running["dead_letters"]) == (0, 1, 1)
    assert running["oldest_ready_age_seconds"] == 0
    waiting = figures(collector, "other")
    assert (waiting["ready"], waiting["scheduled"]) == (2, 2)
    assert (waiting["inprogress"], waiting["dead_letters"]) == (0, 0)
    finish.set()
    worker.stop()


def test_the_age_is_that_of_the_oldest_message_of_all_priorities(
    postgres_broker: PostgresBroker, database_url: str, collector_for: CollectorFor
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    work.send()
    work.send_with_options(broker_priority=9)
    with psycopg.connect(database_url) as conn:
        conn.execute(
            """UPDATE pgqueue.messages SET enqueued_at = now() - interval '1 hour'
            WHERE lane = (SELECT id FROM pgqueue.lanes ORDER BY priority DESC LIMIT 1)"""
        )
    assert 3_600 <= figures(collector_for())["oldest_ready_age_seconds"] < 3_700


def test_the_state_of_the_database_is_told(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, collector_for: CollectorFor
) -> None:
    worker_for(postgres_broker, queues={"default"})
    postgres_broker.pause_queue("mail")
    collector = collector_for()

    def look() -> None:
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for metric in collector.collect()
            for sample in metric.samples
        }
        assert values["pgqueue_workers", "alive"] == 1
        assert values["pgqueue_workers", "silent"] == values["pgqueue_workers", "polling"] == 0
        assert (values["pgqueue_slots", "open"], values["pgqueue_slots", "free"]) == (1, 7)
        assert (values["pgqueue_paused", "queue"], values["pgqueue_paused", "actor"]) == (1, 0)
        assert 0 < values["pgqueue_connections",] < values["pgqueue_max_connections",]
        assert 0 <= values["pgqueue_lock_table_ratio",] < 1
        assert values["pgqueue_disk_full",] == values["pgqueue_read_only",] == 0
        assert values["pgqueue_overdue_seconds",] == values["pgqueue_outlived_slices",] == 0

    eventually(look)


def test_counts_end_at_a_limit(postgres_broker: PostgresBroker, collector_for: CollectorFor) -> None:
    @pgqueue.actor
    def work(number: int) -> None:
        pass

    work.send_many([(number,) for number in range(30)])
    assert figures(collector_for(most=20))["ready"] == 20
    assert figures(collector_for(most=20)) == {}


def test_one_session_exports_until_it_ends(
    postgres_broker: PostgresBroker, collector_for: CollectorFor
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    work.send()
    first, second = collector_for(), collector_for()
    assert figures(first)["ready"] == 1
    assert figures(second) == {}
    assert figures(first)["ready"] == 1
    first.close()

    def taken_over() -> None:
        # The server frees the lock when it has seen the end of the connection.
        assert figures(second).get("ready") == 1

    eventually(taken_over)
    assert figures(first) == {}


def failing(conn: Connection, *_: object, **__: object) -> None:
    """A look that the server refuses, in a way that nobody expected."""
    conn.execute("SELECT 1 / 0")


def test_a_look_that_fails_is_told_once_and_takes_no_figures_of_others_along(
    postgres_broker: PostgresBroker,
    collector_for: CollectorFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    work.send()
    collector = collector_for()
    with monkeypatch.context() as broken:
        broken.setattr(health, "locks", failing)
        for _ in range(2):
            assert figures(collector)["ready"] == 1
            names = {metric.name for metric in collector.collect()}
            assert {"pgqueue_disk_full", "pgqueue_connections", "pgqueue_slots"} <= names
            assert "pgqueue_lock_table_ratio" not in names
    assert [text.split(":")[0] for text in caplog.messages if "No figures" in text] == [
        "No figures of locks until the database can be asked again"
    ]
    assert "pgqueue_lock_table_ratio" in {metric.name for metric in collector.collect()}
    with monkeypatch.context() as broken:
        broken.setattr(queues, "figures", failing)
        for _ in range(2):
            assert figures(collector) == {}
            assert "pgqueue_disk_full" in {metric.name for metric in collector.collect()}
    words = "No figures of queued messages until the database can be asked again: division by zero"
    assert caplog.messages.count(words) == 1
    monkeypatch.setattr(database, "PATIENCE_S", -1.0)
    assert "pgqueue_slots" not in {metric.name for metric in collector.collect()}
    assert "No figures of slots until the database can be asked again: the looks before" in caplog.text


def test_a_lost_connection_costs_one_scrape_and_is_told_once(
    postgres_broker: PostgresBroker,
    database_url: str,
    collector_for: CollectorFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    work.send()
    collector = collector_for()
    assert figures(collector)["ready"] == 1
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(
            """SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE application_name = 'pgqueue metrics' AND datname = current_database()"""
        )
    assert figures(collector) == {}
    assert figures(collector)["ready"] == 1
    assert [record.message for record in caplog.records if "No figures of queues" in record.message] != []


def test_a_database_that_is_down_is_told_once_and_without_its_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector = collector_of({"pgqueue_prom_url": "postgresql://me:secret@127.0.0.1:1/db"})
    assert collector is not None
    assert figures(collector) == figures(collector) == {}
    assert len(caplog.records) == 1
    assert "127.0.0.1:1/db" in caplog.text
    assert "secret" not in caplog.text


def test_without_a_database_there_is_nothing_to_measure(stub_broker: StubBroker) -> None:
    assert variables_for(stub_broker) == {}
    assert collector_of({}) is None
    assert Prometheus().fork_environment == {}


def test_the_broker_says_which_database_is_measured(postgres_broker: PostgresBroker) -> None:
    middleware = Prometheus()
    middleware.after_process_boot(postgres_broker)
    collector = collector_of(middleware.fork_environment)
    assert collector is not None
    assert collector._database.url == postgres_broker.database.url
    assert collector._database.schema == "pgqueue"


def test_a_role_that_may_only_read_is_enough(postgres_broker: PostgresBroker, database_url: str) -> None:
    @pgqueue.actor
    def work() -> None:
        pass

    work.send()
    with psycopg.connect(database_url, autocommit=True) as conn:
        role = f"{conn.info.dbname}_reader"
        conn.execute(
            f"""CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA pgqueue TO {role};
            GRANT SELECT ON ALL TABLES IN SCHEMA pgqueue TO {role}""".encode()
        )
        url = make_conninfo(database_url, user=role, password="secret")
        collector = collector_of({"pgqueue_prom_url": url})
        assert collector is not None
        assert figures(collector)["ready"] == 1
        collector.close()
        conn.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    """An empty project in a directory of its own."""
    return Project(tmp_path, programs)


def served(port: int) -> dict[str, float] | None:
    """What is served at a port; None if nobody does yet."""
    try:
        return scrape(port)
    except OSError:
        return None


@pytest.mark.slow
def test_of_two_programs_one_exports_and_the_other_takes_over(
    project: Project, database_url: str, postgres_broker: PostgresBroker
) -> None:
    @pgqueue.actor(queue_name="idle")
    def work() -> None:
        pass

    work.send()
    project.write("app.py", APP.format(url=database_url))
    programs: dict[int, Process] = {}
    for number in range(2):
        port = free_port()
        programs[port] = project.start_workers(
            processes=2,
            env={
                "pgqueue_prom_db": str(project.directory / f"prom{number}"),
                "pgqueue_prom_host": "127.0.0.1",
                "pgqueue_prom_port": str(port),
            },
        )

    def exporting() -> list[int]:
        found = {port: served(port) for port in programs}
        assert None not in found.values()
        ports = [
            port
            for port, metrics in found.items()
            if metrics and 'pgqueue_queue_ready{queue_name="idle"}' in metrics
        ]
        assert len(ports) == 1
        return ports

    ports = eventually(exporting, within_s=20.0)
    for _ in range(3):
        assert exporting() == ports
    assert scrape(ports[0])['pgqueue_queue_ready{queue_name="idle"}'] == 1
    assert stop(programs.pop(ports[0])) == 0
    assert eventually(exporting, within_s=10.0) == list(programs)
    assert stop(programs.popitem()[1]) == 0
