"""Sends to queues that nobody has declared, and over connections that break."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from pgqueue.brokers import _asking
from pgqueue.brokers._outgoing import Encoded
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine.catalog import Lanes
from pgqueue.errors import ConnectionClosed, DatabaseUnavailable
from pgqueue.message import Message
from pgqueue.storage import messages


@pytest.fixture
def sent(postgres_broker: PostgresBroker) -> Callable[[], int]:
    """Count the messages of the queue."""
    postgres_broker.declare_queue("default")
    return lambda: sum(postgres_broker.get_queue_message_counts("default"))


def breaking(monkeypatch: pytest.MonkeyPatch, broker: PostgresBroker, *, after_the_commit: bool) -> None:
    """Let the connection of the next send break, before or after it has committed."""
    write = broker._sender.write
    breaks = [True]

    def break_once(encoded: Sequence[Encoded], delay: int | None, lanes: Lanes) -> None:
        broken = bool(breaks and breaks.pop())
        if after_the_commit or not broken:
            write(encoded, delay, lanes)
        if broken:
            raise DatabaseUnavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(broker._sender, "write", break_once)


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


def test_a_question_that_takes_long_on_its_way_makes_no_message_older_than_its_send(
    postgres_broker: PostgresBroker, monkeypatch: pytest.MonkeyPatch, sent: Callable[[], int]
) -> None:
    """Or it would be sent a second time."""
    ask = messages.sent_s_ago

    def ask_late(*args: Any, **kwargs: Any) -> float | None:
        time.sleep(0.2)
        return ask(*args, **kwargs)

    monkeypatch.setattr(messages, "sent_s_ago", ask_late)
    breaking(monkeypatch, postgres_broker, after_the_commit=True)
    postgres_broker.enqueue_many(some(3))
    assert sent() == 3


def test_a_message_that_is_sent_again_on_purpose_is_sent_though_its_connection_breaks(
    postgres_broker: PostgresBroker, sent: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    (message,) = some(1)
    postgres_broker.enqueue(message)
    time.sleep(0.2)  # longer than an answer is on its way: which of the two it is can't be told within that
    breaking(monkeypatch, postgres_broker, after_the_commit=False)
    postgres_broker.enqueue(message)
    assert sent() == 2


def test_what_another_server_called_its_queues_is_not_gone_by(
    postgres_broker: PostgresBroker, sent: Callable[[], int]
) -> None:
    """After a failover the numbers of those that were new may be unknown, or another queue's."""
    postgres_broker.enqueue(some(1)[0])
    catalog = postgres_broker._catalog
    catalog._lanes = Lanes({("default", 0): 4_711}, "another")
    postgres_broker.enqueue(some(1)[0])
    assert sent() == 2


def test_a_send_that_meets_another_server_reads_its_queues_first(
    postgres_broker: PostgresBroker, sent: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that is opened to write may be the first to lead there."""
    postgres_broker.enqueue(some(1)[0])
    catalog, lanes_of = postgres_broker._catalog, postgres_broker._catalog.lanes_of
    old = [Lanes({("default", 0): 4_711}, "another")]
    monkeypatch.setattr(catalog, "lanes_of", lambda wanted: old.pop() if old else lanes_of(wanted))
    postgres_broker.enqueue(some(1)[0])
    assert not old
    assert sent() == 2


def test_so_does_that_of_a_coroutine(postgres_broker: PostgresBroker, sent: Callable[[], int]) -> None:
    async def send_twice() -> None:
        await postgres_broker.enqueue_many_async(some(1))
        postgres_broker._catalog._lanes = Lanes({("default", 0): 4_711}, "another")
        await postgres_broker.enqueue_many_async(some(1))
        await postgres_broker.close_async()

    asyncio.run(send_twice())
    assert sent() == 2


def test_so_does_that_of_a_coroutine_whose_connection_leads_there(
    postgres_broker: PostgresBroker, sent: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [Lanes({("default", 0): 4_711}, "another")]
    catalog, lanes_of = postgres_broker._catalog, postgres_broker._catalog.lanes_of_async

    async def outdated_at_first(wanted: Collection[tuple[str, int]]) -> Lanes:
        return old.pop() if old else await lanes_of(wanted)

    async def send() -> None:
        await postgres_broker.enqueue_many_async(some(1))
        await postgres_broker.close_async()

    monkeypatch.setattr(catalog, "lanes_of_async", outdated_at_first)
    asyncio.run(send())
    assert not old
    assert sent() == 1


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
