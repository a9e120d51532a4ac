"""A server whose table of locks somebody else has used up: nothing is lost, and everybody says what it is."""

import logging
import re
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import BrokerError, ServerOutOfMemory
from pgqueue.operations.checking import check
from pgqueue.storage import health
from pgqueue.storage.database import Database
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.few_locks import server_with_few_locks
from tests.support.processes import Process

pytestmark = pytest.mark.slow


@pytest.fixture
def url() -> Iterator[str]:
    """A server of the test's own that has few locks."""
    with server_with_few_locks(max_connections=25) as started:
        yield started


def use_up(conn: psycopg.Connection[object]) -> None:
    """Take locks until there are no more; what was had stays with the session."""
    with pytest.raises(psycopg.errors.OutOfMemory):
        conn.execute("SELECT count(pg_advisory_lock(1000000 + n)) FROM generate_series(1, 100000) n")


def refusal_of_a_new_queue(broker: PostgresBroker, hog: psycopg.Connection[object]) -> ServerOutOfMemory:
    """Take what others have given back, and send to a queue that nobody has heard of."""
    use_up(hog)
    try:
        broker.enqueue(pgqueue.Message(f"unheard-of-{uuid4()}", "note", (0,), {}, {}))
    except ServerOutOfMemory as error:
        return error
    raise AssertionError("there were locks left")


def test_the_doctor_names_who_has_them(url: str) -> None:
    database = Database(url)
    with psycopg.connect(url, autocommit=True, application_name="a hog") as hog:
        use_up(hog)
        (first,) = check(database)
        assert (first.name, first.verdict) == ("reachable", "failure")
        assert "Its table of locks is full" in first.found
        assert "max_locks_per_transaction" in (first.remedy or "")
        # A connection needs a lock or two, and so does looking.
        hog.execute("SELECT count(pg_advisory_unlock(1000000 + n)) FROM generate_series(1, 40) n")
        locks = [each for each in check(database) if each.name == "locks"]
        assert {each.verdict for each in locks} == {"failure"}
        assert any(
            f"session {hog.info.backend_pid} has " in each.found and "a hog" in each.found for each in locks
        )
    assert [each.verdict for each in check(database) if each.name == "locks"] == ["ok"]
    database.close()


def test_the_doctor_goes_on_where_nothing_can_be_looked_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise psycopg.errors.OutOfMemory("out of shared memory")

    database = Database(url)
    monkeypatch.setattr(health, "deaths", full)
    checks = list(check(database))
    assert [each.verdict for each in checks if each.name == "locks"] == ["ok", "failure"]
    assert checks[-1].name == "durability"
    database.close()


def test_a_migration_says_so_in_one_line(url: str, programs: list[Process]) -> None:
    words = ["-m", "pgqueue", "migrate", "--url", url, "--schema", "other"]
    with psycopg.connect(url, autocommit=True) as hog:
        use_up(hog)
        programs.append(Process(words))
        assert programs[0].wait() == 3, programs[0].output
        assert "max_locks_per_transaction" in programs[0].output
        assert "Traceback" not in programs[0].output
    programs.append(Process(words))
    assert programs[1].wait() == 0, programs[1].output


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
        for number in range(1, 20):
            use_up(conn)
            try:
                actor.send(number)
                sent.append(number)
            except BrokerError as caught:
                refused += isinstance(caught, ServerOutOfMemory)
        error = eventually(lambda: refusal_of_a_new_queue(broker, conn))
        assert re.search(r"out of shared memory\. Nothing .* max_locks_per_transaction", str(error))
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
