from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pgqueue
from pgqueue import ActorNotFound, Broker, Consumer, MessageProxy
from pgqueue.broker.worker_consumer import WorkerConsumer, for_worker
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import (
    AgeLimit,
    Retries,
    default_middleware,
)
from pgqueue.results import Results
from pgqueue.results.backends import StubBackend

from .middleware import Recorder, Second, message


class TestMiddleware:
    def test_a_class_is_refused_and_not_added(self) -> None:
        broker = Broker(middleware=[])
        with pytest.raises(TypeError, match=r"Retries is a class: add an instance, Retries\(…\)\."):
            broker.add_middleware(Retries)  # type: ignore[arg-type]
        assert broker.middleware == []

    def test_unless_told_otherwise_a_broker_has_the_default_middleware(self) -> None:
        broker = Broker()

        assert [type(middleware) for middleware in broker.middleware] == default_middleware
        assert broker.actor_options == {
            "max_age",
            "time_limit",
            "notify_shutdown",
            "on_success",
            "on_failure",
            "pipe_target",
            "pipe_ignore",
            "max_retries",
            "min_backoff",
            "max_backoff",
            "retry_when",
            "throws",
            "on_retry_exhausted",
        }

    def test_an_empty_list_means_no_middleware(self) -> None:
        broker = Broker(middleware=[])

        assert broker.middleware == []
        assert broker.actor_options == set()

    def test_middleware_is_appended_and_brings_its_options(self) -> None:
        broker = Broker(middleware=[Recorder("1")])
        last = Second("2")

        broker.add_middleware(last)

        assert broker.middleware[-1] is last
        assert broker.actor_options == {"option1", "option2"}

    def test_middleware_is_inserted_before_or_after_a_class(self) -> None:
        broker = Broker()
        before, after = Recorder("before"), Second("after")

        broker.add_middleware(before, before=Retries)
        broker.add_middleware(after, after=AgeLimit)

        kinds = [type(middleware) for middleware in broker.middleware]
        assert kinds.index(Recorder) == kinds.index(Retries) - 1
        assert kinds.index(Second) == kinds.index(AgeLimit) + 1

    def test_it_can_t_be_both_before_and_after(self) -> None:
        with pytest.raises(AssertionError):
            Broker().add_middleware(Recorder(), before=Retries, after=AgeLimit)

    def test_the_class_to_stand_by_must_be_there(self) -> None:
        with pytest.raises(ValueError, match="Results"):
            Broker().add_middleware(Recorder(), before=Results)

    def test_the_same_class_twice_is_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = Broker()

        broker.add_middleware(Retries())

        assert sum(isinstance(middleware, Retries) for middleware in broker.middleware) == 2
        assert "You're adding a middleware of the same type twice" in caplog.text

    def test_it_is_told_what_was_declared_before(self, stub_broker: StubBroker) -> None:
        @pgqueue.actor
        def add() -> None: ...

        recorder = Recorder("late")
        stub_broker.add_middleware(recorder)

        assert recorder.calls == [
            ("late", "after_declare_actor", "add"),
            ("late", "after_declare_queue", "default"),
            ("late", "after_declare_delay_queue", "default.DQ"),
        ]


class TestDeclarations:
    def test_the_names_are_handed_out_as_copies(self, stub_broker: StubBroker) -> None:
        @pgqueue.actor(queue_name="sums")
        def add() -> None: ...

        stub_broker.get_declared_actors().clear()
        stub_broker.get_declared_queues().clear()
        stub_broker.get_declared_delay_queues().clear()

        assert stub_broker.get_declared_actors() == {"add"}
        assert "sums" in stub_broker.get_declared_queues()
        assert stub_broker.get_declared_delay_queues() == {"sums.DQ"}

    def test_an_actor_is_found_by_its_name(self, stub_broker: StubBroker) -> None:
        @pgqueue.actor
        def add() -> None: ...

        assert stub_broker.get_actor("add") is add
        with pytest.raises(ActorNotFound) as caught:
            stub_broker.get_actor("subtract")
        assert str(caught.value) == "subtract"

    def test_an_actor_is_declared_between_its_hooks(self) -> None:
        class Tiny(Broker):
            def declare_queue(self, queue_name: str) -> None:
                events.append(f"queue {queue_name}")

            def emit_before(self, signal: str, *args: Any, **kwargs: Any) -> None:
                events.append(f"before {signal}")

            def emit_after(self, signal: str, *args: Any, **kwargs: Any) -> None:
                events.append(f"after {signal}")

        events: list[str] = []

        @pgqueue.actor(broker=Tiny())
        def add() -> None: ...

        assert events == ["before declare_actor", "queue default", "after declare_actor"]

    def test_the_results_backend_is_that_of_the_results_middleware(self) -> None:
        class OurResults(Results):
            pass

        backend = StubBackend()

        assert Broker(middleware=[OurResults(backend=backend)]).get_results_backend() is backend
        with pytest.raises(RuntimeError, match="Results"):
            Broker().get_results_backend()


class TestTheBase:
    def test_a_broker_must_define_what_only_it_can_know(self) -> None:
        broker = Broker(middleware=[])

        calls: list[Callable[[], Any]] = [
            lambda: broker.declare_queue("default"),
            lambda: broker.consume("default"),
            lambda: broker.enqueue(message()),
            lambda: broker.flush("default"),
            lambda: broker.join("default"),
        ]
        for call in calls:
            with pytest.raises(NotImplementedError):
                call()

    def test_a_broker_may_keep_something_by_the_names_of_its_queues(self) -> None:
        class Keeping(Broker):
            queues: dict[str, list[bytes]]

            def declare_queue(self, queue_name: str) -> None:
                self.queues[queue_name] = []

        broker = Keeping(middleware=[])
        broker.declare_queue("letters")
        assert broker.queues == {"letters": []}
        assert broker.get_declared_queues() == {"letters"}

    def test_the_rest_has_a_meaning_for_every_broker(self) -> None:
        class Tiny(Broker):
            def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
                sent.append((message, delay))
                return message

            def flush(self, queue_name: str) -> None:
                flushed.append(queue_name)

        sent: list[Any] = []
        flushed: list[str] = []
        broker = Tiny(middleware=[])
        broker.queues = {"a", "a.DQ"}
        broker.delay_queues = {"a.DQ"}
        first, second = message(1), message(2)

        assert broker.enqueue_many([first, second], delay=5) == [first, second]
        assert sent == [(first, 5), (second, 5)]
        broker.flush_all()
        assert flushed == ["a"]
        assert broker.consume_many(["a"], prefetch=None, threads=8, timeout=100) is None
        broker.close()

    def test_a_consumer_has_harmless_defaults(self) -> None:
        consumer = Consumer()

        assert iter(consumer) is consumer
        consumer.requeue([MessageProxy(message())])
        consumer.close()

    def test_a_consumer_has_no_public_names_but_dramatiqs(self) -> None:
        assert {name for name in dir(Consumer) if not name.startswith("_")} == {
            "ack",
            "nack",
            "requeue",
            "close",
        }

    def test_a_workers_consumer_has_harmless_defaults(self) -> None:
        consumer = WorkerConsumer()
        proxy = MessageProxy(message())

        assert for_worker(consumer) is consumer
        with consumer.settling(proxy):
            consumer.started(proxy)
            consumer.finished(proxy)
        consumer.subscribe("default")
        consumer.pause()
        consumer.resume()
        assert consumer.flush(timeout=0) is True

    def test_a_consumer_must_define_how_messages_come_and_go(self) -> None:
        consumer = Consumer()
        proxy = MessageProxy(message())

        calls: list[Callable[[], Any]] = [
            lambda: next(consumer),
            lambda: consumer.ack(proxy),
            lambda: consumer.nack(proxy),
        ]
        for call in calls:
            with pytest.raises(NotImplementedError):
                call()
