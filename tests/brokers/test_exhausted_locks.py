"""A server whose table of locks somebody else has used up: nothing is lost, and everybody says what it is."""

import logging
import re
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
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


def test_there_is_room_for_as_many_as_is_told(url: str) -> None:
    """And for a tenth more, and for as many as what else is left of the server's shared memory can take."""
    database = Database(url)
    with psycopg.connect(url, autocommit=True) as hog:
        use_up(hog)
        hog.execute("SELECT count(pg_advisory_unlock(1000000 + n)) FROM generate_series(1, 40) n")
        with database.bounded() as conn:
            locks = health.locks(conn, database.statements)
            server = health.server(conn, database.statements)
    # Connections, prepared transactions, workers, senders, autovacuum's workers, and processes of which there is one.
    most = (
        25 + 4 + 8 + 10 + (16 if server.version >= 180_000 else 3) + (2 if server.version >= 170_000 else 1)
    )
    assert locks.room == 10 * most
    assert locks.taken > locks.room
    database.close()


def test_each_session_that_shares_a_lock_takes_room(url: str) -> None:
    """The server has a table of objects that are locked, and one of who has which."""
    database, sharers = Database(url), list[psycopg.Connection[object]]()

    def share_all(sharer: psycopg.Connection[object]) -> None:
        sharers.append(sharer)
        sharer.execute("SELECT count(pg_advisory_lock_shared(1000000 + n)) FROM generate_series(1, 200) n")

    with ExitStack() as stack:
        connections = (stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(20))
        with pytest.raises(psycopg.errors.OutOfMemory):
            deque(map(share_all, connections), maxlen=0)
        for sharer in sharers[-2:]:
            sharer.execute("SELECT pg_advisory_unlock_all()")
        (locks,) = (each for each in check(database) if each.name == "locks")
        assert locks.verdict in {"warning", "failure"}
        assert " has 200 of them" in locks.found
    database.close()


def test_who_has_the_most_is_told_by_what_is_locked_and_by_transaction(url: str) -> None:
    """A prepared transaction has no session; and a session may hold one thing in several ways."""
    database = Database(url)

    def most() -> tuple[int | None, int | None]:
        with database.bounded() as conn:
            locks = health.locks(conn, database.statements)
        return locks.most, locks.pid

    taking = "SELECT count(pg_advisory_{}lock{}({} + n)) FROM generate_series(1, {}) n"
    with psycopg.connect(url, autocommit=True) as conn, psycopg.connect(url, autocommit=True) as other:
        for name, first in (("one", 1000), ("two", 2000)):
            conn.execute("BEGIN")
            conn.execute(taking.format("xact_", "", first, 100).encode())
            conn.execute(f"PREPARE TRANSACTION '{name}'".encode())
        assert most() == (101, None)  # and its own number
        for shared in ("", "_shared"):
            other.execute(taking.format("", shared, 3000, 80).encode())
        assert most() == (101, None)
        for name in ("one", "two"):
            conn.execute(f"ROLLBACK PREPARED '{name}'".encode())
        assert most() == (80, other.info.backend_pid)
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
        programs.append(Process(words, warm=True))
        assert programs[0].wait() == 3, programs[0].output
        assert "max_locks_per_transaction" in programs[0].output
        assert "Traceback" not in programs[0].output
    programs.append(Process(words, warm=True))
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
