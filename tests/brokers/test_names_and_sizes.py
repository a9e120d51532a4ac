"""Odd names and large messages are safe, or refused before anything is sent."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections.abc import Callable

import psycopg
import pytest

import pgqueue
from pgqueue import schema
from pgqueue.brokers import _outgoing
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.cli import main
from pgqueue.errors import BrokerNotConfigured, MessageTooLarge, PgQueueError
from pgqueue.message import Message
from tests.conftest import WorkerFor

ODD_NAMES = [
    "O'Brien",
    'say "hello"',
    "100 %",
    "%s %(name)s %%",
    "a; DROP TABLE pgqueue.messages; --",
    "back\\slash",
    "größer 🐘",
    "two\nlines",
    "x" * 200,
]


#: Names that PostgreSQL can't keep, or that no index holds.
IMPOSSIBLE = {
    "long": "x" * 1_001,
    "wide": "ö" * 501,
    "very long": "x" * 18_000,
    "NUL": "a\0b",
    "half a letter": "a\ud800b",
}


def message(queue_name: str = "default", actor_name: str = "note", **options: object) -> Message[None]:
    return Message(queue_name=queue_name, actor_name=actor_name, args=(), kwargs={}, options=options)


def written(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT (SELECT count(*) FROM pgqueue.messages) + (SELECT count(*) FROM pgqueue.scheduled)"
        )
        found = row.fetchone()
    assert found is not None
    return int(found[0])


class TestNames:
    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_of_actors_and_of_messages(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, name: str
    ) -> None:
        ran: list[int] = []
        actor = pgqueue.actor(actor_name=name, max_retries=0)(ran.append)
        sent = Message[None](
            queue_name="default", actor_name=name, args=(1,), kwargs={}, options={}, message_id=name
        )
        postgres_broker.pause_actor(name)
        postgres_broker.resume_actor(name)
        postgres_broker.enqueue(sent)
        actor.send(2)
        worker_for(postgres_broker)
        postgres_broker.join("default", timeout=15_000)
        assert sorted(ran) == [1, 2]
        assert postgres_broker.get_message_status(name) is pgqueue.MessageStatus.DONE
        assert postgres_broker.cancel(name, timeout=0) is pgqueue.Cancellation.DONE

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_of_queues(self, postgres_broker: PostgresBroker, name: str) -> None:
        postgres_broker.declare_queue(name)
        postgres_broker.enqueue_many([message(name), message(name)])
        postgres_broker.enqueue(message(name), delay=3_600_000)
        assert postgres_broker.get_queue_message_counts(name) == (2, 1, 0)
        assert postgres_broker.pause_queue(name)
        assert postgres_broker.get_paused_queues() == {name}
        assert postgres_broker.resume_queue(name)
        consumer = postgres_broker.consume(name, timeout=5000)
        received = next(iter(consumer))
        assert received is not None
        assert received.queue_name == name
        consumer.nack(received)
        consumer.close()
        assert postgres_broker.get_queue_message_counts(name) == (1, 1, 1)
        postgres_broker.flush(name)
        assert postgres_broker.get_queue_message_counts(name) == (0, 0, 0)

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_actors_are_refused_queues_that_other_brokers_could_not_have(
        self, postgres_broker: PostgresBroker, name: str
    ) -> None:
        if name == "x" * 200:
            return
        with pytest.raises(ValueError, match="queue"):
            pgqueue.actor(queue_name=name)(print)

    @pytest.mark.parametrize("kind", ["queue_name", "actor_name", "message_id"])
    @pytest.mark.parametrize("name", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
    def test_that_no_index_holds_are_refused(
        self, postgres_broker: PostgresBroker, database_url: str, kind: str, name: str
    ) -> None:
        bad = message().copy(**{kind: name})
        with pytest.raises(
            ValueError, match=r"^Message '.* was not sent: '.*can't be .*: PostgreSQL keeps"
        ) as caught:
            postgres_broker.enqueue_many([message(), bad])
        assert type(caught.value) is ValueError
        assert str(caught.value).encode()
        assert written(database_url) == 0

    @pytest.mark.parametrize("name", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
    @pytest.mark.parametrize(
        ("method", "what"),
        [
            *((method, "queue") for method in ("pause_queue", "resume_queue", "flush", "join", "consume")),
            *((method, "queue") for method in ("get_queue_message_counts", "declare_queue")),
            *((method, "actor") for method in ("pause_actor", "resume_actor")),
            *((method, "message") for method in ("get_message_status", "cancel")),
        ],
    )
    def test_that_can_not_be_are_refused_by_who_is_asked_for_them(
        self, postgres_broker: PostgresBroker, method: str, what: str, name: str
    ) -> None:
        with pytest.raises(
            ValueError, match=rf"can't be the (name|id) of an? {what}.*: PostgreSQL keeps"
        ) as caught:
            getattr(postgres_broker, method)(name)
        assert type(caught.value) is ValueError
        assert str(caught.value).encode()
        with pytest.raises(ValueError, match="can't be the name of a queue"):
            postgres_broker.limit_queue(name, 1)
        with pytest.raises(ValueError, match="can't be the name of a queue"):
            postgres_broker.consume_many(["default", name], prefetch=1, threads=1, timeout=100)

    @pytest.mark.parametrize(
        "name", ["O'Brien", "a; DROP TABLE pgqueue.messages; --", "back\\slash", "x" * 200]
    )
    def test_of_schemas_that_can_not_be_are_refused(self, database_url: str, name: str) -> None:
        with pytest.raises(ValueError, match="can't be the schema"):
            PostgresBroker(database_url, schema=name)
        assert main(["migrate", "--schema", name, "--url", database_url]) == 2
        assert main(["queues", "--schema", name, "--url", database_url]) == 2

    def test_of_a_schema_that_would_be_taken_for_sql_is_refused_by_migrations(
        self, database_url: str
    ) -> None:
        with pytest.raises(ValueError, match="can't be the schema"):
            schema.upgrade(database_url, "a; DROP TABLE pgqueue.messages; --")
        assert written(database_url) == 0


class TestSizes:
    def large(self, size: int) -> Message[None]:
        return message(pad="x" * size)

    def test_a_message_above_the_limit_is_refused_with_all_that_is_sent_with_it(
        self, database_url: str
    ) -> None:
        broker = PostgresBroker(database_url, max_message_size=2_000)
        bad = self.large(2_000)
        for send in (
            lambda: broker.enqueue(bad),
            lambda: broker.enqueue_many([message(), bad, message()]),
            lambda: broker.enqueue(bad, delay=1000),
            lambda: asyncio.run(broker.enqueue_async(bad)),
        ):
            with pytest.raises(MessageTooLarge) as caught:
                send()
            assert caught.value.limit == 2_000
            assert caught.value.size > 2_000
            text = str(caught.value)
            assert bad.message_id in text
            assert f"{caught.value.size:,} bytes" in text
            assert "2,000" in text
            assert "xxx" not in text
        assert written(database_url) == 0
        broker.enqueue(self.large(1_000))
        assert written(database_url) == 1
        broker.close()

    def test_in_a_transaction_the_others_of_it_are_sent(self, database_url: str) -> None:
        broker = PostgresBroker(database_url, max_message_size=2_000)
        with psycopg.connect(database_url) as conn, pgqueue.transaction(conn):
            broker.enqueue(message())
            with pytest.raises(MessageTooLarge):
                broker.enqueue(self.large(2_000))
        assert written(database_url) == 1
        broker.close()

    def test_without_one_the_limit_is_what_a_value_holds(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert _outgoing.MOST_BYTES == 1_000_000_000
        monkeypatch.setattr(_outgoing, "MOST_BYTES", 5_000)
        broker = PostgresBroker(database_url)
        with pytest.raises(MessageTooLarge, match="at most 5,000 are allowed"):
            broker.enqueue(self.large(5_000))
        broker.close()

    def test_a_retry_is_never_too_large_to_be_written(self, database_url: str, worker_for: WorkerFor) -> None:
        """The traceback that a retry carries is added by the worker: the message must not be lost over it."""
        broker = PostgresBroker(database_url, max_message_size=400)

        def fail() -> None:
            raise RuntimeError("y" * 1_000)

        actor = pgqueue.actor(broker=broker, max_retries=1, min_backoff=10)(fail)
        sent = actor.send()
        worker_for(broker)
        broker.join("default", timeout=15_000)
        assert broker.get_message_status(sent.message_id) is pgqueue.MessageStatus.FAILED
        assert broker.get_queue_message_counts("default")[2] == 1


SECRET = "s3cr3t%2Fpart"

URLS = [
    f"postgresql://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql://me:{SECRET}%zz@127.0.0.1:1/db",
    "postgresql://me:s3cr3t@part@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=me&password=s3cr3t%2Fpart",
    "postgresql://127.0.0.1:1/db?user=me&sslpassword=s3cr3t",
    r"host=127.0.0.1 port=1 user=me password='s3cr3t\' part'",
    r"host=127.0.0.1 port=1 user=me password=s3cr3t\ part",
    "host=127.0.0.1 port=1 user=me password='s3cr3t",
    f"mysql://me:{SECRET}@127.0.0.1/db",
    f"postgresql://me:{SECRET}@127.0.0.1:1/%ff",
    f"postgresql://me:{SECRET}%ff@127.0.0.1:1/db",
    f"postgresql://me:{SECRET}@127.0.0.1:1/db?connect_timeout=abc",
    "postgresql://me:pa/s3cr3t@127.0.0.1:1/db",
    "postgresql://me:s3cr3t/part@127.0.0.1:1/db",
    "postgresql://me:1234/s3cr3t@127.0.0.1:1/db",
    "postgresql://me:a@12/s3cr3t@127.0.0.1:1/db",
    "postgresql://me:a@b:s3cr3t@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?user=me&p%61ssword=s3cr3t",
    "host=127.0.0.1 port=1 user=me password=a&s3cr3t",
    "host=127.0.0.1 port=1 user=me oauth_client_secret=s3cr3t",
    "postgresql://127.0.0.1:1/db?user=me&scram_client_key=s3cr3t",
    "host=127.0.0.1 port=1 dbname='postgresql://me:s3cr3t@127.0.0.1:1/db'",
]

#: URLs that are wrong whatever server there is, with what is told of them.
WRONG_URLS = {
    "mysql://127.0.0.1/db": "expected postgresql://",
    "postgresql://127.0.0.1:1/%ff": "must be UTF-8",
    "postgresql://127.0.0.1:1/db?options=%ff": "must be UTF-8",
    "postgresql://me:pa/rt@127.0.0.1:1/db": "port is no number. A / in a user's name or a password is written %2F",
    "postgresql://me:12/rt@127.0.0.1:1/db": "can't be one's name. A / in a user's name or a password is written %2F",
    "postgresql://me:p@rt@127.0.0.1:1/db": "an @ %40",
    "postgresql://127.0.0.1:1/db?connect_timeout=abc": "connect_timeout is 'abc': a number of seconds is expected",
    "host=127.0.0.1 port=1 connect_timeout=1m": "connect_timeout is '1m': a number of seconds is expected",
}


class TestSecrets:
    def told(self, call: Callable[[], object]) -> str:
        """All that anybody may print of the failure of a call."""
        with pytest.raises(PgQueueError) as caught:
            call()
        return "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("url", URLS)
    def test_are_in_no_error_and_in_no_line_of_the_log(
        self, url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pgqueue.brokers._asking.RETRY_S", 0.0)
        with caplog.at_level(logging.DEBUG):
            broker = PostgresBroker(url)
            texts = [
                self.told(broker.check),
                self.told(lambda: broker.enqueue(message())),
                self.told(lambda: broker.consume("default")),
                self.told(lambda: asyncio.run(broker.enqueue_async(message()))),
                repr(broker),
                repr(broker.database),
                broker.database.describe(),
            ]
        for text in [*texts, caplog.text]:
            assert "s3cr3t" not in text
            assert "part@" not in text

    @pytest.mark.parametrize("url", URLS)
    @pytest.mark.parametrize("command", [["migrate"], ["queues"], ["doctor"]], ids=" ".join)
    def test_are_not_told_by_commands(
        self, url: str, command: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*command, "--url", url]) != 0
        output = capsys.readouterr()
        assert "s3cr3t" not in output.out + output.err


@pytest.mark.parametrize(("url", "told"), WRONG_URLS.items())
@pytest.mark.parametrize("command", [["migrate"], ["queues"], ["workers"], ["demo"]], ids=" ".join)
def test_a_wrong_url_is_a_usage_error_in_one_line(
    url: str, told: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--url", url]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert told in line


@pytest.mark.parametrize(("url", "told"), WRONG_URLS.items())
def test_a_wrong_url_is_told_to_programs_and_workers(url: str, told: str) -> None:
    broker = PostgresBroker(url)
    for call in (
        broker.check,
        lambda: broker.enqueue(message()),
        lambda: asyncio.run(broker.enqueue_async(message())),
        lambda: schema.upgrade(url),
    ):
        with pytest.raises(BrokerNotConfigured, match=re.escape(told)):
            call()
