"""What befalls a server while workers run, and what they make of it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator

import psycopg
import pytest

import pgqueue
from pgqueue import embedded, schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import PgQueueError, SchemaOutdated

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.postgres import quick_directory

#: A bundled server that lived shorter than this, in seconds, is not started again by its keeper.
SHORT_LIFE_S = 5.5


@pytest.fixture
def server() -> Iterator[embedded.Server]:
    """A server of the test's own."""
    directory = tempfile.mkdtemp(prefix="pgqueue-faults-", dir=quick_directory())
    with embedded.start(
        directory, temporary=True, durable=True, settings={"shared_buffers": "32MB"}
    ) as started:
        schema.upgrade(started.url)
        yield started


def postmaster(server: embedded.Server) -> int:
    try:
        return int((server.directory / "data" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0


def restart(server: embedded.Server) -> None:
    """Stop the server as `pg_ctl restart` does, and wait until its successor takes connections."""
    pid = postmaster(server)
    os.kill(pid, signal.SIGINT)

    def look() -> None:
        assert postmaster(server) not in {pid, 0}
        try:
            psycopg.connect(server.url).close()
        except psycopg.OperationalError as error:
            raise AssertionError from error

    eventually(look, within_s=60.0)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_workers_outlive_a_restart_and_finish_what_was_delayed_and_what_ran(
    server: embedded.Server, running_workers: list[pgqueue.Worker], worker_for: WorkerFor
) -> None:
    broker = PostgresBroker(server.url)
    ran: list[str] = []
    old_enough, started, go_on = threading.Event(), threading.Event(), threading.Event()

    @pgqueue.actor(broker=broker)
    def note(name: str) -> None:
        if name == "running":
            started.set()
            assert go_on.wait(60)
        ran.append(name)

    worker_for(broker, worker_threads=2)
    note.send("running")
    assert started.wait(15)
    note.send_with_options(args=("delayed",), delay=8_000)
    old_enough.wait(SHORT_LIFE_S)
    restart(server)
    go_on.set()
    note.send("after")
    broker.join("default", timeout=60_000)
    assert sorted(ran) == ["after", "delayed", "running"]
    running_workers.pop().stop()
    broker.close()


@pytest.mark.slow
def test_a_schema_that_is_dropped_is_named_and_once_it_is_back_work_goes_on(
    postgres_broker: PostgresBroker,
    database_url: str,
    worker_for: WorkerFor,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[int] = []
    note = pgqueue.actor(actor_name="note")(ran.append)
    worker_for(postgres_broker)
    note.send(1)
    postgres_broker.join("default", timeout=15_000)
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA pgqueue CASCADE")
    with pytest.raises(SchemaOutdated, match="Run `pgqueue migrate`"):
        note.send(2)

    def told() -> None:
        assert "Run `pgqueue migrate`" in caplog.text

    eventually(told, within_s=15.0)
    schema.upgrade(database_url)

    def sent() -> None:
        try:
            note.send(3)
        except PgQueueError as error:
            raise AssertionError from error

    eventually(sent, within_s=15.0)
    postgres_broker.join("default", timeout=30_000)
    assert ran == [1, 3]
