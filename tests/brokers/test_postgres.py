"""What only the Postgres broker has: configuration, order, delays, transactions' worth of messages, status."""

import json
import logging
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

import pgqueue
from pgqueue import MessageStatus, PickleEncoder, schema
from pgqueue.broker import MessageProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import BrokerNotConfigured, DatabaseUnavailable, PermissionDenied, SchemaOutdated
from pgqueue.storage.database import Connection, Database
from pgqueue.storage.dead_letters import DeadLetter, list_dead_letters

from ..conftest import WorkerFor
from ..support.eventually import eventually


def noop(broker: PostgresBroker, **options: Any) -> "pgqueue.Actor[..., None]":
    @pgqueue.actor(broker=broker, actor_name=options.pop("actor_name", "noop"), **options)
    def do_nothing(*_: object) -> None:
        return None

    return do_nothing


def take(broker: PostgresBroker, number: int, *, queue_name: str = "default") -> list[MessageProxy]:
    """Consume ``number`` messages and ack them."""
    consumer = broker.consume(queue_name, prefetch=number, timeout=2000)
    try:
        taken = []
        for _ in range(number):
            message = next(consumer)
            assert message is not None
            taken.append(message)
            consumer.ack(message)
        return taken
    finally:
        consumer.close()


def letters(broker: PostgresBroker, queue_name: str = "default") -> list[DeadLetter]:
    with broker.database.connection() as conn:
        return list_dead_letters(conn, broker.database.statements, queue_name=queue_name)


class TestConfiguration:
    def test_without_a_url_both_ways_out_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("PGQUEUE_URL", "DATABASE_URL"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(BrokerNotConfigured, match=r"PGQUEUE_URL[\s\S]*embedded:"):
            PostgresBroker()

    def test_the_environment_names_database_and_schema(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        monkeypatch.setenv("PGQUEUE_URL", database_url.replace("postgresql://", "postgresql+psycopg://"))
        monkeypatch.setenv("PGQUEUE_SCHEMA", "elsewhere")
        broker = PostgresBroker()
        assert broker.database.schema == "elsewhere"
        with pytest.raises(SchemaOutdated, match="pgqueue migrate"):
            broker.check()
        broker.close()

    def test_nothing_connects_before_the_first_message(self) -> None:
        broker = PostgresBroker("postgresql://nobody@127.0.0.1:1/none")
        assert noop(broker).message(1).queue_name == "default"
        assert broker.get_declared_queues() == {"default"}

    def test_an_unreachable_server_is_named_without_its_password(self) -> None:
        broker = PostgresBroker("postgresql://me:secret@127.0.0.1:1/none")
        with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1") as raised:
            broker.check()
        assert "secret" not in str(raised.value)

    @pytest.mark.parametrize("schema", ["apostrophe's", "back\\slash", "co:lon", "x" * 64, "pg_mine"])
    def test_a_schema_name_that_no_driver_could_carry_is_refused(self, schema: str) -> None:
        with pytest.raises(ValueError, match="schema"):
            PostgresBroker("postgresql://", schema=schema)

    def test_a_pool_of_the_programs_own_is_used(self, database_url: str, worker_for: WorkerFor) -> None:
        with ConnectionPool(database_url, min_size=1, max_size=2) as pool:
            broker = PostgresBroker(pool=pool)
            ran: list[int] = []
            pgqueue.actor(broker=broker, actor_name="append")(ran.append).send(1)
            worker_for(broker)
            broker.join("default", timeout=10_000)
            assert ran == [1]

    def test_a_pool_may_be_told_by_keywords_where_to_connect(
        self, database_url: str, worker_for: WorkerFor
    ) -> None:
        settings = conninfo_to_dict(database_url)
        with ConnectionPool("", kwargs={"autocommit": False, **settings}, min_size=1, max_size=2) as pool:
            broker = PostgresBroker(pool=pool)
            ran: list[int] = []
            pgqueue.actor(broker=broker, actor_name="append")(ran.append).send(1)
            worker_for(broker)
            broker.join("default", timeout=10_000)
            assert ran == [1]
            broker.close()

    def test_a_role_without_rights_is_told_so(self, database_url: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(f"DROP ROLE IF EXISTS powerless_{os.getpid()}")
            conn.execute(f"CREATE ROLE powerless_{os.getpid()}")
        url = psycopg.conninfo.make_conninfo(database_url, options=f"-c role=powerless_{os.getpid()}")
        broker = PostgresBroker(url)
        with pytest.raises(PermissionDenied, match="rights"):
            noop(broker).send()
        broker.close()
        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute(f"DROP ROLE powerless_{os.getpid()}")


class TestSending:
    def test_what_cannot_be_encoded_sends_nothing(self, postgres_broker: PostgresBroker) -> None:
        actor = noop(postgres_broker)
        with pytest.raises(TypeError):
            postgres_broker.enqueue_many([actor.message(1), actor.message(object())])
        assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)

    def test_many_messages_are_one_transaction(self, postgres_broker: PostgresBroker) -> None:
        actor = noop(postgres_broker)
        postgres_broker.enqueue_many(actor.message(n) for n in range(12_000))
        with postgres_broker.database.connection() as conn:
            row = conn.execute("SELECT count(*), count(DISTINCT xid) FROM pgqueue.ready").fetchone()
        assert row == (12_000, 1)

    def test_an_empty_batch_is_nothing(self, postgres_broker: PostgresBroker) -> None:
        assert postgres_broker.enqueue_many([]) == []

    @pytest.mark.parametrize("message_id", ["", "42", "näme", "x" * 1000, "%s", "'; DROP TABLE x"])
    def test_any_text_is_a_message_id(self, postgres_broker: PostgresBroker, message_id: str) -> None:
        actor = noop(postgres_broker)
        postgres_broker.enqueue(actor.message().copy(message_id=message_id))
        assert postgres_broker.get_message_status(message_id) == MessageStatus.QUEUED
        assert [message.message_id for message in take(postgres_broker, 1)] == [message_id]
        assert postgres_broker.get_message_status(message_id) == MessageStatus.DONE

    def test_payloads_are_the_bytes_of_the_encoder(self, postgres_broker: PostgresBroker) -> None:
        previous = pgqueue.get_encoder()
        pgqueue.set_encoder(PickleEncoder())
        try:
            noop(postgres_broker).send({1, 2}, b"\0")
            assert take(postgres_broker, 1)[0].args == ({1, 2}, b"\0")
        finally:
            pgqueue.set_encoder(previous)

    @pytest.mark.parametrize("priority", ["high", 1.5, 2**31])
    def test_a_priority_that_is_no_integer_is_refused(
        self, postgres_broker: PostgresBroker, priority: object
    ) -> None:
        with pytest.raises(ValueError, match="priority"):
            noop(postgres_broker).send_with_options(priority=priority)

    def test_a_forked_child_sends_through_connections_of_its_own(
        self, postgres_broker: PostgresBroker
    ) -> None:
        actor = noop(postgres_broker)
        actor.send("parent")
        child = multiprocessing.get_context("fork").Process(target=actor.send, args=("child",))
        child.start()
        child.join(20)
        assert child.exitcode == 0
        actor.send("parent again")
        assert [message.args[0] for message in take(postgres_broker, 3)] == [
            "parent",
            "child",
            "parent again",
        ]


class TestOrder:
    def test_lower_priorities_come_first_and_equals_in_turn(self, postgres_broker: PostgresBroker) -> None:
        actors = [
            noop(postgres_broker, actor_name=f"p{priority}", priority=priority) for priority in (10, 0, 5)
        ]
        for number in range(3):
            for actor in actors:
                actor.send(number)
        order = [(message.actor_name, message.args[0]) for message in take(postgres_broker, 9)]
        assert order == [(name, number) for name in ("p0", "p5", "p10") for number in range(3)]

    def test_broker_priority_puts_higher_numbers_first(self, postgres_broker: PostgresBroker) -> None:
        actor = noop(postgres_broker)
        for priority in (1, 9, 5):
            actor.send_with_options(args=(priority,), broker_priority=priority)
        assert [message.args[0] for message in take(postgres_broker, 3)] == [9, 5, 1]

    def test_an_urgent_message_overtakes_what_waits(self, postgres_broker: PostgresBroker) -> None:
        slow, urgent = (
            noop(postgres_broker, priority=5),
            noop(postgres_broker, actor_name="urgent", priority=1),
        )
        postgres_broker.enqueue_many(slow.message(n) for n in range(500))
        take(postgres_broker, 10)
        urgent.send()
        assert take(postgres_broker, 1)[0].actor_name == "urgent"

    def test_what_is_handed_back_keeps_its_place(self, postgres_broker: PostgresBroker) -> None:
        actor = noop(postgres_broker)
        for number in range(4):
            actor.send(number)
        consumer = postgres_broker.consume("default", prefetch=2, timeout=2000)
        held = [next(consumer), next(consumer)]
        consumer.requeue([message for message in held if message is not None])
        consumer.close()
        again = take(postgres_broker, 4)
        assert [message.args[0] for message in again] == [0, 1, 2, 3]
        assert {getattr(message, "attempts", None) for message in again} == {0}


class TestDelays:
    def test_the_sender_gets_the_delayed_copy_and_the_actor_the_plain_message(
        self, postgres_broker: PostgresBroker
    ) -> None:
        sent = noop(postgres_broker).send_with_options(args=(1,), delay=50)
        assert (sent.queue_name, "eta" in sent.options) == ("default.DQ", True)
        assert postgres_broker.get_message_status(sent.message_id) == MessageStatus.SCHEDULED
        received = take(postgres_broker, 1)[0]
        assert (received.queue_name, received.options) == ("default", {})

    def test_no_delay_at_all_is_ready_at_once(self, postgres_broker: PostgresBroker) -> None:
        sent = noop(postgres_broker).send_with_options(delay=0)
        assert postgres_broker.get_message_status(sent.message_id) == MessageStatus.QUEUED

    @pytest.mark.parametrize("eta", [None, "soon", 1, True])
    def test_an_eta_that_is_none_or_past_is_now(self, postgres_broker: PostgresBroker, eta: object) -> None:
        sent = noop(postgres_broker).send_with_options(eta=eta)
        assert postgres_broker.get_message_status(sent.message_id) == MessageStatus.QUEUED


class TestTheFateOfMessages:
    def test_status_follows_a_message(self, postgres_broker: PostgresBroker) -> None:
        message = noop(postgres_broker).message()
        assert message.status() == MessageStatus.UNKNOWN
        postgres_broker.enqueue(message)
        consumer = postgres_broker.consume("default", timeout=2000)
        held = next(consumer)
        assert held is not None
        assert message.status() == MessageStatus.RUNNING
        consumer.nack(held)
        assert message.status() == MessageStatus.FAILED
        consumer.close()

    def test_an_undecodable_message_is_kept_with_its_bytes_and_stops_nobody(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        ran: list[int] = []
        actor = pgqueue.actor(broker=postgres_broker, actor_name="append")(ran.append)
        actor.send(1)
        actor.send(2)
        with postgres_broker.database.connection() as conn:
            conn.execute(
                "UPDATE pgqueue.messages SET payload = '\\x00ff' WHERE id = (SELECT min(id) FROM pgqueue.ready)"
            )
        worker_for(postgres_broker)
        postgres_broker.join("default", timeout=10_000)
        assert ran == [2]
        (letter,) = letters(postgres_broker)
        assert (letter.reason, letter.payload) == ("undecodable", b"\x00\xff")

    def test_a_message_for_an_unknown_actor_is_a_dead_letter(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
    ) -> None:
        sent = noop(postgres_broker).send()
        del postgres_broker.actors["noop"]
        with caplog.at_level(logging.ERROR):
            worker_for(postgres_broker)
            postgres_broker.join("default", timeout=10_000)
        (letter,) = letters(postgres_broker)
        assert (letter.message_id, letter.error) == (sent.message_id, "ActorNotFound: noop")
        assert "noop" in caplog.text

    def test_dead_letters_keep_error_and_traceback(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        @pgqueue.actor(broker=postgres_broker, max_retries=0)
        def fail() -> None:
            raise ValueError("nul \0 and surrogate \ud800")

        fail.send()
        worker_for(postgres_broker)
        postgres_broker.join("default", timeout=10_000)
        (letter,) = letters(postgres_broker)
        assert letter.error == "ValueError: nul ␀ and surrogate ?"
        assert letter.traceback is not None
        assert "in fail" in letter.traceback
        assert json.loads(letter.payload)["options"] == {}

    def test_flush_drops_everything_that_is_not_held(self, postgres_broker: PostgresBroker) -> None:
        actor = noop(postgres_broker)
        actor.send()
        actor.send_with_options(delay=100_000)
        consumer = postgres_broker.consume("default", timeout=2000)
        held = next(consumer)
        assert held is not None
        consumer.nack(held)
        consumer.close()
        actor.send()
        assert postgres_broker.get_queue_message_counts("default") == (1, 1, 1)
        postgres_broker.flush("default")
        assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)

    def test_a_queue_declared_after_the_start_is_consumed(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        worker_for(postgres_broker)
        ran: list[int] = []
        pgqueue.actor(broker=postgres_broker, actor_name="append", queue_name="late")(ran.append).send(1)
        postgres_broker.join("late", timeout=10_000)
        assert ran == [1]


class TestConnections:
    @pytest.fixture
    def connections(self, postgres_broker: PostgresBroker) -> Callable[[], int]:
        def count() -> int:
            with postgres_broker.database.connection() as conn:
                row = conn.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND application_name ~ '^pgqueue (listener|acker|fetcher)$'"
                ).fetchone()
            return int(row[0]) if row else 0

        return count

    @pytest.fixture
    def busy_worker(self, postgres_broker: PostgresBroker, worker_for: WorkerFor) -> pgqueue.Worker:
        for number in range(50):
            noop(postgres_broker, actor_name=f"a{number}", queue_name=f"q{number}").send()
        worker = worker_for(postgres_broker, worker_threads=8)
        for number in range(50):
            postgres_broker.join(f"q{number}", timeout=10_000)
        return worker

    def test_a_worker_has_three_however_many_queues_and_threads(
        self, busy_worker: pgqueue.Worker, connections: Callable[[], int]
    ) -> None:
        assert connections() == 3
        busy_worker.stop()

        def all_gone() -> None:
            assert connections() == 0

        eventually(all_gone)

    def test_the_server_compiles_none_of_its_statements(
        self, database_url: str, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Debian's server would, for seconds at a time, a statement that takes a millisecond to run."""
        connect, found = Database.connect, {}

        def look(database: Database, *, application_name: str, **settings: Any) -> Connection:
            connection = connect(database, application_name=application_name, **settings)
            found[application_name] = connection.execute("SHOW jit", prepare=False).fetchone()
            return connection

        monkeypatch.setattr(Database, "connect", look)
        broker = PostgresBroker(f"{database_url}{'&' if '?' in database_url else '?'}options=-c%20jit%3Don")
        worker = worker_for(broker)

        def all_have_connected() -> None:
            assert len(found) >= 3

        eventually(all_have_connected)
        worker.stop()
        broker.close()
        assert found == dict.fromkeys(("pgqueue listener", "pgqueue acker", "pgqueue fetcher"), ("off",))


def test_brokers_on_two_schemas_of_a_database_are_independent(
    database_url: str, worker_for: WorkerFor
) -> None:
    schema.upgrade(database_url, schema="second")
    first, second = PostgresBroker(database_url), PostgresBroker(database_url, schema="second")
    ran: list[str] = []
    for broker, name in ((first, "first"), (second, "second")):
        pgqueue.actor(broker=broker, actor_name="append")(ran.append).send(name)
    worker_for(second)
    second.join("default", timeout=10_000)
    assert ran == ["second"]
    assert first.get_queue_message_counts("default") == (1, 0, 0)
    first.close()
