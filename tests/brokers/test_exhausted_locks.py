"""A server whose table of locks somebody else has used up: nothing is lost, and everybody says what it is."""

import logging
from collections.abc import Iterator

import psycopg
import pytest

import pgqueue
from pgqueue import embedded, schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import BrokerError, ServerOutOfMemory
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.postgres import quick_directory

pytestmark = pytest.mark.slow

#: So many locks in all are a few hundred.
SETTINGS = {"max_connections": "25", "max_locks_per_transaction": "10"}


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the test's own that has few locks."""
    directory = (
        f"{quick_directory() or tmp_path_factory.mktemp('few')}/pgqueue-few-locks-{id(tmp_path_factory)}"
    )
    with embedded.start(directory, temporary=True, durable=False, settings=SETTINGS) as server:
        schema.upgrade(server.url)
        yield server.url


def use_up(conn: psycopg.Connection[object]) -> None:
    """Take locks until there are no more; what was had stays with the session."""
    with pytest.raises(psycopg.errors.OutOfMemory):
        conn.execute("SELECT count(pg_advisory_lock(1000000 + n)) FROM generate_series(1, 100000) n")


def test_senders_are_told_workers_go_on_and_nothing_is_lost(
    url: str, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PostgresBroker(url)
    ran: list[int] = []
    actor = pgqueue.actor(broker=broker, actor_name="note")(ran.append)
    worker_for(broker, worker_threads=2)
    actor.send(0)
    broker.join("default", timeout=30_000)
    sent, refused = [0], 0

    def told() -> list[logging.LogRecord]:
        records = [record for record in caplog.records if record.name.startswith("pgqueue.engine")]
        return [record for record in records if record.levelno >= logging.WARNING]

    def has_told() -> None:
        assert any("has no memory for this" in record.getMessage() for record in told())

    with psycopg.connect(url, autocommit=True) as conn:
        use_up(conn)
        for number in range(1, 20):
            try:
                actor.send(number)
                sent.append(number)
            except BrokerError as error:
                refused += isinstance(error, ServerOutOfMemory)
        with pytest.raises(
            ServerOutOfMemory, match=r"out of shared memory\. Nothing .* max_locks_per_transaction"
        ):
            broker.enqueue(pgqueue.Message("unheard-of", "note", (0,), {}, {}))
        eventually(has_told)
        conn.execute("SELECT pg_advisory_unlock_all()")
    assert refused

    def can_be_sent() -> None:
        try:
            actor.send(99)
        except BrokerError as error:
            raise AssertionError(str(error)) from error

    eventually(can_be_sent)
    broker.join("default", timeout=30_000)
    assert sorted(ran) == [*sent, 99]
    assert [record.getMessage() for record in told() if record.exc_info] == []
    broker.close()
