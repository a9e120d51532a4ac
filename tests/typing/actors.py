"""Programs as users write them: never run, but they must type-check (house rule 18)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

import pgqueue
from pgqueue import Actor, GenericActor, Message, MessageProxy, Middleware
from pgqueue.broker import Broker


@pgqueue.actor
def add(x: int, y: int = 0) -> int:
    return x + y


@pgqueue.actor(queue_name="slow", priority=10, max_retries=3)
def shout(text: str, *, loud: bool = False) -> str:
    return text.upper() if loud else text


@pgqueue.actor
async def fetch(url: str) -> bytes:
    return url.encode()


@pgqueue.actor(store_results=True)
async def fetch_later(url: str) -> bytes:
    return url.encode()


@pgqueue.actor
def nothing() -> None: ...


@pgqueue.actor(transactional=True, transaction_warning_s=5.0)
def charge(order_id: int) -> str:
    current = pgqueue.current_transaction()
    current.connection.execute("UPDATE orders SET charged = true WHERE id = %s", (order_id,))
    current.session(autoflush=False).flush()
    return current.message_id


def transactional_actors_keep_their_signatures() -> None:
    assert_type(charge.send(1), Message[str])


def actors_keep_their_signatures() -> None:
    assert_type(add(1, y=2), int)
    assert_type(add.send(1), Message[int])
    assert_type(add.message(1, 2).get_result(block=True), int)
    assert_type(shout("hey", loud=True), str)
    assert_type(shout.send("hey", loud=False), Message[str])
    assert_type(nothing.send(), Message[None])


def wrong_arguments_are_found() -> None:
    add.send("one")  # type: ignore[arg-type]
    add.send(1, 2, 3)  # type: ignore[call-arg]
    add(z=1)  # type: ignore[call-arg]
    shout.send("hey", True)  # type: ignore[call-arg]
    shout.message()  # type: ignore[call-arg]


def async_actors_return_what_they_await() -> None:
    assert_type(fetch("url"), bytes)
    assert_type(fetch.send("url"), Message[bytes])
    assert_type(fetch_later("url"), bytes)
    assert_type(fetch_later.message("url").get_result(), bytes)


def options_are_free() -> None:
    assert_type(add.send_with_options(args=(1,), delay=timedelta(seconds=5), colour="red"), Message[int])
    assert_type(add.message_with_options(args=[1], kwargs={"y": 2}, on_success=shout), Message[int])
    assert_type(add.send_many([(1,), (2, 3)]), list[Message[int]])


def messages_compose() -> None:
    pipe = add.message(1, 2) | add.message(3)
    assert_type(pipe, pgqueue.pipeline)
    pgqueue.group([pipe, add.message(1), pgqueue.group([shout.message("x")])]).run(delay=5).wait(timeout=100)


def results_are_covariant(message: Message[bool]) -> Message[int]:
    return message


class Special(Actor[Any, Any]):
    pass


def actors_may_have_another_class() -> None:
    pgqueue.actor(actor_class=Special)(print)


class Count(GenericActor):
    class Meta:
        queue_name = "counts"

    def perform(self, words: list[str]) -> int:
        return len(words)


def class_based_actors_are_actors_in_use() -> None:
    Count.send(["a"])
    Count(["a"])


class Timing(Middleware):
    """Hooks may name what they get."""

    @property
    def actor_options(self) -> set[str]:
        return {"timing"}

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        message.options["started"] = broker.get_actor(message.actor_name).priority

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        broker.enqueue(message, delay=0)
