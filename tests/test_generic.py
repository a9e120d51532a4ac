from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pgqueue
from pgqueue import Actor, GenericActor
from pgqueue.asyncio import EventLoopThread, set_event_loop_thread
from pgqueue.brokers.stub import StubBroker


@pytest.fixture(autouse=True)
def broker(stub_broker: StubBroker) -> StubBroker:
    return stub_broker


def test_a_class_becomes_an_actor(broker: StubBroker) -> None:
    class Add(GenericActor):
        def perform(self, x: int, y: int) -> int:
            return x + y

    assert isinstance(broker.get_actor("Add"), Actor)
    assert not isinstance(broker.get_actor("Add").fn, Actor)
    assert type(Add).__name__ == "Add"
    assert Add(1, 2) == 3
    assert Add.actor_name == "Add"
    assert Add.send(1, 2).args == (1, 2)
    assert broker.queues["default"].qsize() == 1


def test_meta_holds_the_options(broker: StubBroker) -> None:
    class Add(GenericActor):
        class Meta:
            actor_name = "add"
            queue_name = "sums"
            priority = 5
            max_retries = 32

        def perform(self) -> None: ...

    assert (Add.actor_name, Add.queue_name, Add.priority) == ("add", "sums", 5)
    assert Add.options == {"max_retries": 32}


def test_an_abstract_class_is_a_base_and_no_actor(broker: StubBroker) -> None:
    class Base(GenericActor):
        class Meta:
            abstract = True
            queue_name = "sums"

        def perform(self) -> int:
            return self.value()

        def value(self) -> int:
            raise NotImplementedError

    class One(Base):
        def value(self) -> int:
            return 1

    class Two(Base):
        class Meta(Base.Meta):
            max_retries = 2

        def value(self) -> int:
            return 2

    assert isinstance(Base, type)
    assert broker.get_declared_actors() == {"One", "Two"}
    assert (One(), One.queue_name) == (1, "sums")
    assert (Two(), Two.queue_name, Two.options) == (2, "sums", {"max_retries": 2})
    with pytest.raises(AttributeError):
        _ = Base.send


def test_a_class_must_say_what_it_does() -> None:
    class Foo(GenericActor):
        pass

    with pytest.raises(NotImplementedError, match=r"^Foo does not implement perform\(\)$"):
        Foo()


def test_another_registry_can_make_the_actor(broker: StubBroker) -> None:
    # Takes no other option, as registries of programs do; the name is that of the function, as everywhere.
    def registry(fn: Callable[..., Any], *, queue_name: str) -> Actor[..., Any]:
        made.append((fn.__name__, queue_name))
        return pgqueue.actor(queue_name=queue_name)(fn)

    made: list[tuple[str, str]] = []

    class Add(GenericActor):
        class Meta:
            actor = registry
            queue_name = "sums"

        def perform(self, x: int) -> int:
            return x

    assert made == [("Add", "sums")]
    assert (Add(1), Add.actor_name) == (1, "Add")


def test_what_neither_it_nor_its_actor_has_is_missing() -> None:
    class Add(GenericActor):
        def perform(self) -> None: ...

    with pytest.raises(AttributeError, match="colour"):
        _ = Add.colour
    assert copy.copy(Add).actor_name == "Add"


@pytest.fixture
def event_loop_thread() -> Iterator[EventLoopThread]:
    thread = EventLoopThread(logging.getLogger(__name__))
    thread.start(timeout=5)
    set_event_loop_thread(thread)
    yield thread
    set_event_loop_thread(None)
    thread.stop()
    thread.join()


def test_perform_may_be_a_coroutine_function(event_loop_thread: EventLoopThread) -> None:
    class Add(GenericActor):
        async def perform(self, x: int, y: int) -> int:
            return x + y

    assert Add(1, 2) == 3
