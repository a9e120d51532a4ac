"""Sends to queues that nobody has declared, and over connections that break."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pgqueue.brokers import _asking
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import ConnectionClosed, DatabaseUnavailable
from pgqueue.message import Message
from pgqueue.storage.messages import NewMessage


@pytest.fixture
def sent(postgres_broker: PostgresBroker) -> Callable[[], int]:
    """Count the messages of the queue."""
    postgres_broker.declare_queue("default")
    return lambda: sum(postgres_broker.get_queue_message_counts("default"))


def breaking(monkeypatch: pytest.MonkeyPatch, broker: PostgresBroker, *, after_the_commit: bool) -> None:
    """Let the connection of the next send break, before or after it has committed."""
    write = broker._sender.write_rows
    breaks = [True]

    def break_once(rows: Sequence[NewMessage], **options: Any) -> None:
        broken = bool(breaks and breaks.pop())
        if after_the_commit or not broken:
            write(rows, **options)
        if broken:
            raise DatabaseUnavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(broker._sender, "write_rows", break_once)


def some(count: int) -> list[Message[Any]]:
    """Make messages."""
    return [Message("default", "actor", (number,), {}, {}) for number in range(count)]


def test_a_queue_needs_no_declaration(postgres_broker: PostgresBroker) -> None:
    """As with Dramatiq's brokers on servers: sending to it or consuming from it makes it."""
    consumer = postgres_broker.consume("nowhere", timeout=2_000)
    try:
        sent = postgres_broker.enqueue(Message("nowhere", "work", (), {}, {}))
        assert next(consumer) == sent
    finally:
        consumer.close()


@pytest.mark.parametrize("after_the_commit", [False, True])
@pytest.mark.parametrize("delay", [None, 60_000])
def test_a_send_over_a_connection_that_breaks_is_sent_once(
    postgres_broker: PostgresBroker,
    sent: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    after_the_commit: bool,
    delay: int | None,
) -> None:
    breaking(monkeypatch, postgres_broker, after_the_commit=after_the_commit)
    postgres_broker.enqueue_many(some(5), delay=delay)
    assert sent() == 5


def test_a_message_that_is_sent_again_on_purpose_is_sent_though_its_connection_breaks(
    postgres_broker: PostgresBroker, sent: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (message,) = some(1)
    postgres_broker.enqueue(message)
    breaking(monkeypatch, postgres_broker, after_the_commit=False)
    postgres_broker.enqueue(message)
    assert sent() == 2


def test_a_send_gives_up_after_six_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_asking, "RETRY_S", 0.0)
    broker = PostgresBroker("postgresql://me:secret@127.0.0.1:1/none")
    broker.declare_queue("default")
    attempts: list[int] = []
    connection = broker.database.connection

    def count() -> object:
        attempts.append(1)
        return connection()

    monkeypatch.setattr(broker.database, "connection", count)
    with pytest.raises(ConnectionClosed, match=r"Not sent, after 6 attempts: .*127\.0\.0\.1") as raised:
        broker.enqueue(some(1)[0])
    assert len(attempts) == 6
    assert isinstance(raised.value.__cause__, DatabaseUnavailable)
    assert "secret" not in str(raised.value)
