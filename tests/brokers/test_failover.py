"""A server whose commits wait for a standby that is gone, and one that takes over from it."""

import asyncio
from collections.abc import Iterator

import pytest

from pgqueue import schema
from pgqueue.brokers import _asking, _sending
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import ConnectionClosed
from pgqueue.message import Message

from ..support.replication import Node, Pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bear little silence, and send twice at the most."""
    monkeypatch.setattr(_sending, "ANSWER_S", 2.0)
    for module in (_sending, _asking):
        monkeypatch.setattr(module, "ATTEMPTS", 2)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two servers of the test's own, the old primary of which lives on."""
    with Pair() as started:
        schema.upgrade(started.primary.url)
        yield started


def message() -> Message[None]:
    return Message(queue_name="default", actor_name="note", args=(), kwargs={}, options={})


def kept(node: Node, one: Message[None]) -> bool:
    return bool(node.execute(f"SELECT 1 FROM pgqueue.messages WHERE message_id = '{one.message_id}'"))


def test_what_only_the_old_primary_has_was_not_sent(pair: Pair) -> None:
    """It gives up waiting for its standby when we cancel what is not answered, and then shows the message."""
    broker, one = PostgresBroker(pair.primary.url), message()
    broker.declare_queue("default")
    broker.enqueue(message())
    pair.promote()
    with pytest.raises(ConnectionClosed, match="has not answered"):
        broker.enqueue(one)
    assert not kept(pair.primary, one)
    broker.close()


def test_a_send_goes_on_to_the_new_primary_while_the_old_one_takes_connections(pair: Pair) -> None:
    broker, one = PostgresBroker(pair.url), message()
    broker.enqueue(message())
    pair.promote()
    broker.enqueue(one)
    assert kept(pair.primary, one)
    broker.close()


def test_so_does_a_send_of_a_coroutine(pair: Pair) -> None:
    broker, one = PostgresBroker(pair.url), message()

    async def send() -> None:
        await broker.enqueue_async(message())
        pair.promote()
        await broker.enqueue_async(one)
        await broker.close_async()

    asyncio.run(send())
    assert kept(pair.primary, one)


def test_a_send_leaves_a_primary_that_was_made_read_only(pair: Pair) -> None:
    broker, one = PostgresBroker(pair.url), message()
    broker.enqueue(message())
    pair.promote()
    pair.standby.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    broker.enqueue(one)
    assert kept(pair.primary, one)
    broker.close()
