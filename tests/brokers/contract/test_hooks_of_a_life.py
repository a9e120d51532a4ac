"""Which hooks a program sees from its boot to its end, in which order, in which threads, and what they may change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import pytest

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import Middleware, Retries, ShutdownNotifications, TimeLimit, TimeLimitExceeded

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import assert_equal, dead_letter_count, join

HOOKS = sorted(name for name in vars(Middleware) if name.startswith(("before_", "after_")))

Calls = list[tuple[str, str]]


def listener(hooks: Iterable[str], calls: Calls) -> Middleware:
    """Middleware that notes each of these hooks with the kind of thread in which it was called."""

    def noting(hook: str) -> Any:
        def note(self: Middleware, broker: Broker, *details: Any, **more: Any) -> None:
            name = threading.current_thread().name
            kind = next((each for each in ("WorkerThread", "ConsumerThread") if name.startswith(each)), "")
            calls.append((hook, kind))

        return note

    listening: Middleware = type("Listening", (Middleware,), {hook: noting(hook) for hook in hooks})()
    return listening


def sorted_by_thread(calls: Calls) -> dict[str, list[str]]:
    """The hooks of each kind of thread in their order; what two threads do at a time has none."""
    return {kind: [hook for hook, each in calls if each == kind] for _, kind in calls}


def test_the_hooks_of_a_whole_life_come_in_their_order_and_threads(
    broker: Broker, worker_for: WorkerFor
) -> None:
    calls: Calls = []
    broker.add_middleware(listener(HOOKS, calls))
    broker.emit_after("process_boot")

    @pgqueue.actor(broker=broker)
    def work() -> None: ...

    worker = worker_for(broker, worker_threads=1)
    work.send()
    join(broker)
    worker.join()
    worker.stop()
    by_thread = sorted_by_thread(calls)
    assert by_thread[""] == [
        "after_process_boot",
        "before_declare_actor",
        "before_declare_queue",
        "after_declare_queue",
        "after_declare_delay_queue",
        "after_declare_actor",
        "before_worker_boot",
        "after_worker_boot",
        "before_enqueue",
        "after_enqueue",
        "before_worker_shutdown",
        "after_worker_shutdown",
    ]
    assert by_thread["WorkerThread"] == [
        "after_worker_thread_boot",
        "before_process_message",
        "after_process_message",
        "before_ack",
        "after_ack",
        "before_worker_thread_shutdown",
    ]
    assert set(by_thread["ConsumerThread"]) == {
        "after_consumer_thread_boot",
        "before_consumer_thread_shutdown",
    }


def test_the_hooks_of_a_delayed_message(broker: Broker, worker_for: WorkerFor) -> None:
    calls: Calls = []

    @pgqueue.actor(broker=broker)
    def work() -> None: ...

    worker = worker_for(broker, worker_threads=1)
    hooks = ["before_enqueue", "after_enqueue", "before_delay_message", "before_process_message"]
    broker.add_middleware(listener(hooks, calls))
    work.send_with_options(delay=20)
    join(broker)
    worker.join()
    by_thread = sorted_by_thread(calls)
    assert by_thread.pop("") == ["before_enqueue", "after_enqueue"]
    assert by_thread.pop("WorkerThread") == ["before_process_message"]
    if isinstance(broker, StubBroker):
        assert by_thread == {"ConsumerThread": ["before_delay_message", "before_enqueue", "after_enqueue"]}
    else:
        # The server keeps it until it is due: it is enqueued once, and never in a worker's memory before that.
        assert by_thread == {}


def test_everything_that_is_enqueued_is_told_to_the_hooks(broker: Broker, worker_for: WorkerFor) -> None:
    seen: list[tuple[str, str, int | None]] = []

    class Spy(Middleware):
        def after_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            if threading.current_thread().name.startswith("WorkerThread"):
                seen.append((message.actor_name, message.queue_name, delay))

    broker.add_middleware(Spy())

    @pgqueue.actor(broker=broker)
    def other(*args: Any) -> None: ...

    @pgqueue.actor(broker=broker, max_retries=1, min_backoff=1, max_backoff=2)
    def work(fails: bool) -> None:
        if fails:
            raise ValueError("as told")

    worker = worker_for(broker, worker_threads=1)
    work.send_with_options(args=(True,), on_failure="other", on_retry_exhausted="other")
    (work.message_with_options(args=(False,), on_success="other") | other.message()).run()
    join(broker)
    worker.join()
    assert sorted(call for call in seen if call[0] == "other") == [("other", "default", None)] * 5
    [retry] = [call for call in seen if call[0] == "work"]
    assert retry[:2] == ("work", "default.DQ")
    assert retry[2] in (1, 2)


def test_after_hooks_see_what_retries_has_decided(broker: Broker, worker_for: WorkerFor) -> None:
    """Those after Retries in the list are called before it, the others see its verdict."""
    seen: list[tuple[str, bool, Any]] = []

    class Spy(Middleware):
        def __init__(self, place: str) -> None:
            self.place = place

        def after_process_message(
            self,
            broker: Broker,
            message: MessageProxy,
            *,
            result: Any = None,
            exception: BaseException | None = None,
        ) -> None:
            seen.append((self.place, message.failed, message.options.get("retries")))

    broker.add_middleware(Spy("first"), before=type(broker.middleware[0]))
    broker.add_middleware(Spy("last"))
    assert isinstance(broker.middleware[-2], Retries)

    @pgqueue.actor(broker=broker, max_retries=1, min_backoff=0, max_backoff=0)
    def fail() -> None:
        raise ValueError("always")

    worker_for(broker, worker_threads=1)
    fail.send()
    join(broker)
    assert seen == [("last", False, None), ("first", False, 1), ("last", False, 1), ("first", True, 2)]


def test_before_enqueue_may_change_the_priority(broker: Broker, worker_for: WorkerFor) -> None:
    order: list[str] = []
    seen: list[Any] = []

    class Hurry(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            if message.args == ("urgent",):
                message.options["priority"] = -5

        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            seen.append(message.options.get("priority"))

    broker.add_middleware(Hurry())

    @pgqueue.actor(broker=broker)
    def work(word: str) -> None:
        order.append(word)

    for word in ("usual", "usual", "urgent"):
        work.send(word)
    worker_for(broker, worker_threads=1)
    join(broker)
    assert sorted(map(str, seen)) == ["-5", "None", "None"]
    if not isinstance(broker, StubBroker):
        assert order == ["urgent", "usual", "usual"]


def test_before_process_message_may_set_the_time_limit(broker: Broker, worker_for: WorkerFor) -> None:
    class Limiting(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            message.options["time_limit"] = 50

    broker.middleware = [each for each in broker.middleware if not isinstance(each, TimeLimit)]
    broker.add_middleware(TimeLimit(interval=10), before=ShutdownNotifications)
    broker.add_middleware(Limiting(), before=TimeLimit)
    broker.emit_after("process_boot")
    ended: list[type[BaseException]] = []

    @pgqueue.actor(broker=broker, max_retries=0)
    def work() -> None:
        try:
            while True:
                time.sleep(0.001)
        except TimeLimitExceeded as error:
            ended.append(type(error))
            raise

    worker_for(broker)
    work.send()
    join(broker)
    assert ended == [TimeLimitExceeded]
    eventually(lambda: assert_equal(dead_letter_count(broker), 1))


@pytest.mark.parametrize(
    "hook", ["before_ack", "after_ack", "after_process_message", "before_process_message"]
)
def test_a_hook_that_raises_stops_nobody(broker: Broker, worker_for: WorkerFor, hook: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ValueError("a fault of the hook")

    broker.add_middleware(type("Faulty", (Middleware,), {hook: refuse})())
    ran: list[int] = []

    @pgqueue.actor(broker=broker)
    def work() -> None:
        ran.append(1)

    worker_for(broker)
    work.send()
    join(broker)
    assert ran == [1]
    assert dead_letter_count(broker) == 0
