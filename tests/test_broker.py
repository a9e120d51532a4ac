from __future__ import annotations

import copy
import gc
import logging
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import pgqueue
from pgqueue import ActorNotFound, Broker, Consumer, Message, MessageProxy, Middleware
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import (
    AgeLimit,
    MiddlewareError,
    Retries,
    SkipMessage,
    default_middleware,
)
from pgqueue.results import Results
from pgqueue.results.backends import StubBackend


class Recorder(Middleware):
    """Notes the hooks that it defines, in a list that several can share."""

    def __init__(self, name: str = "", calls: list[Any] | None = None) -> None:
        self.name = name
        self.calls = [] if calls is None else calls

    @property
    def actor_options(self) -> set[str]:
        return {f"option{self.name}"}

    def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        self.calls.append((self.name, "before_enqueue"))

    def after_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        self.calls.append((self.name, "after_enqueue"))

    def after_declare_actor(self, broker: Broker, actor: Any) -> None:
        self.calls.append((self.name, "after_declare_actor", actor.actor_name))

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
        self.calls.append((self.name, "after_declare_queue", queue_name))

    def after_declare_delay_queue(self, broker: Broker, queue_name: str) -> None:
        self.calls.append((self.name, "after_declare_delay_queue", queue_name))


class Second(Recorder):
    pass


def raising(error: BaseException) -> Callable[..., None]:
    def hook(*args: Any, **kwargs: Any) -> None:
        raise error

    return hook


def message(*args: Any) -> Message[Any]:
    return Message("default", "add", args, {}, {})


class TestMiddleware:
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


class TestSignals:
    def test_before_hooks_run_in_order_and_after_hooks_in_reverse(self) -> None:
        calls: list[Any] = []
        broker = Broker(middleware=[Recorder("1", calls), Second("2", calls)])

        broker.emit_before("enqueue", message(), None)
        broker.emit_after("enqueue", message(), None)

        assert calls == [
            ("1", "before_enqueue"),
            ("2", "before_enqueue"),
            ("2", "after_enqueue"),
            ("1", "after_enqueue"),
        ]

    @pytest.mark.parametrize("error", [MiddlewareError("no"), SkipMessage("no")])
    def test_a_middleware_error_of_a_before_hook_gets_out_at_once(self, error: MiddlewareError) -> None:
        first, second = Recorder("1"), Second("2")
        first.before_enqueue = raising(error)  # type: ignore[method-assign]
        broker = Broker(middleware=[first, second])

        with pytest.raises(type(error)):
            broker.emit_before("enqueue", message(), None)
        assert second.calls == []

    def test_other_exceptions_of_a_before_hook_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        first, second = Recorder("1"), Second("2")
        first.before_enqueue = raising(ValueError("oh"))  # type: ignore[method-assign]
        broker = Broker(middleware=[first, second])

        broker.emit_before("enqueue", message(), None)

        assert second.calls == [("2", "before_enqueue")]
        assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
        assert "ValueError: oh" in caplog.text

    @pytest.mark.parametrize("error", [ValueError("oh"), MiddlewareError("oh")])
    def test_every_exception_of_an_after_hook_is_logged(
        self, error: Exception, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, second = Recorder("1"), Second("2")
        second.after_enqueue = raising(error)  # type: ignore[method-assign]
        broker = Broker(middleware=[first, second])

        broker.emit_after("enqueue", message(), None)

        assert first.calls == [("1", "after_enqueue")]
        assert [record.levelno for record in caplog.records] == [logging.CRITICAL]

    def test_what_is_no_exception_passes_through_before_hooks(self) -> None:
        first = Recorder("1")
        first.before_enqueue = raising(KeyboardInterrupt())  # type: ignore[method-assign]

        with pytest.raises(KeyboardInterrupt):
            Broker(middleware=[first]).emit_before("enqueue", message(), None)

    def test_what_is_no_exception_passes_through_when_all_after_hooks_have_run(self) -> None:
        first, second = Recorder("1"), Second("2")
        second.after_enqueue = raising(SystemExit())  # type: ignore[method-assign]

        with pytest.raises(SystemExit):
            Broker(middleware=[first, second]).emit_after("enqueue", message(), None)
        assert first.calls == [("1", "after_enqueue")]

    def test_a_signal_that_nobody_knows_is_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        broker = Broker()

        broker.emit_before("moonrise")
        broker.emit_after("moonrise")

        assert caplog.records == []

    def test_programs_may_have_signals_of_their_own(self) -> None:
        class Astronomer(Middleware):
            def after_moonrise(self, broker: Broker, hour: int) -> None:
                hours.append(hour)

        hours: list[int] = []
        Broker(middleware=[Astronomer()]).emit_after("moonrise", 21)

        assert hours == [21]

    def test_only_middleware_that_defines_a_hook_is_called(self) -> None:
        recorder = Recorder()
        broker = Broker(middleware=[AgeLimit(), recorder])

        assert broker.hooks("after_enqueue") == [recorder.after_enqueue]
        assert list(broker.hooks("before_ack")) == []

    def test_a_hook_that_is_put_on_an_instance_later_is_called(self) -> None:
        middleware = AgeLimit()
        broker = Broker(middleware=[middleware])
        broker.emit_after("ack", message())
        acked: list[Any] = []

        middleware.after_ack = lambda *args: acked.append(args)  # type: ignore[method-assign]
        broker.emit_after("ack", message("x"))
        del middleware.after_ack
        broker.emit_after("ack", message("y"))

        assert [args[1].args for args in acked] == [("x",)]

    def test_a_hook_that_is_patched_on_its_class_is_called(self, monkeypatch: pytest.MonkeyPatch) -> None:
        broker = Broker(middleware=[Recorder()])
        broker.emit_after("enqueue", message(), None)
        enqueued: list[Any] = []

        monkeypatch.setattr(Recorder, "after_enqueue", lambda *args: enqueued.append(args))
        broker.emit_after("enqueue", message(), None)

        assert len(enqueued) == 1

    def test_changes_of_the_list_count_at_once(self) -> None:
        first, second = Recorder("1"), Second("2")
        broker = Broker(middleware=[first])
        broker.emit_after("enqueue", message(), None)

        broker.middleware.append(second)
        broker.emit_after("enqueue", message(), None)
        broker.middleware = [second]
        broker.emit_after("enqueue", message(), None)

        assert (len(first.calls), len(second.calls)) == (2, 2)

    def test_an_object_with_hooks_need_not_derive_from_middleware(self) -> None:
        class Duck:
            def after_ack(self, broker: Broker, message: Any) -> None:
                acked.append(message)

        acked: list[Any] = []
        broker = Broker(middleware=[])
        broker.middleware.append(Duck())  # type: ignore[arg-type]

        broker.emit_before("ack", message())
        broker.emit_after("ack", message("x"))

        assert [each.args for each in acked] == [("x",)]

    def test_no_exception_is_kept_alive(self) -> None:
        class Oh(BaseException):
            pass

        class Raises(Middleware):
            def after_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
                raise Oh

        seen: list[weakref.ref[Oh]] = []
        broker = Broker(middleware=[Raises()])
        gc.disable()
        try:
            try:
                broker.emit_after("enqueue", message(), None)
            except Oh as error:
                seen.append(weakref.ref(error))
            assert [each() for each in seen] == [None]
        finally:
            gc.enable()


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
        proxy = MessageProxy(message())

        assert iter(consumer) is consumer
        with consumer.settling(proxy):
            consumer.started(proxy)
            consumer.finished(proxy)
        consumer.subscribe("default")
        consumer.pause()
        consumer.resume()
        assert consumer.flush(timeout=0) is True
        consumer.close()

    def test_a_consumer_must_define_how_messages_come_and_go(self) -> None:
        consumer = Consumer()
        proxy = MessageProxy(message())

        calls: list[Callable[[], Any]] = [
            lambda: next(consumer),
            lambda: consumer.ack(proxy),
            lambda: consumer.nack(proxy),
            lambda: consumer.requeue([proxy]),
        ]
        for call in calls:
            with pytest.raises(NotImplementedError):
                call()


class TestMessageProxy:
    def test_it_has_all_attributes_of_its_message(self) -> None:
        original = message(1)
        proxy = MessageProxy(original)

        for name, value in original.asdict().items():
            assert getattr(proxy, name) is value
        assert proxy.asdict() == original.asdict()
        assert proxy.encode() == original.encode()
        assert proxy.message_datetime == original.message_datetime
        with pytest.raises(AttributeError, match="colour"):
            _ = proxy.colour

    def test_it_shares_the_options(self) -> None:
        original = message()

        MessageProxy(original).options["retries"] = 1

        assert original.options == {"retries": 1}

    def test_its_message_can_be_exchanged(self) -> None:
        proxy = MessageProxy(message("encrypted"))

        proxy._message = proxy._message.copy(args=("plain",))

        assert proxy.args == ("plain",)
        assert proxy == proxy._message

    def test_it_can_be_failed(self) -> None:
        proxy = MessageProxy(message())
        assert not proxy.failed

        proxy.fail()

        assert proxy.failed

    def test_it_keeps_an_exception_until_told_otherwise(self) -> None:
        proxy = MessageProxy(message())
        error = ValueError()

        proxy.stuff_exception(error)
        assert proxy._exception is error
        proxy.clear_exception()
        assert proxy._exception is None

    def test_it_equals_its_message_and_other_proxies_of_it(self) -> None:
        original = message(1)
        proxy = MessageProxy(original)

        assert proxy == original
        assert original == proxy
        assert proxy == MessageProxy(original.copy())
        assert proxy != MessageProxy(message(1))
        assert proxy != "something else"

    def test_it_can_t_be_hashed(self) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(MessageProxy(message()))

    def test_ordering_it_is_deprecated(self) -> None:
        first, second = MessageProxy(message()), MessageProxy(message())

        with pytest.warns(DeprecationWarning, match="no order"):
            assert first < second
        with pytest.warns(DeprecationWarning, match="no order"):
            assert second < first

    def test_it_reads_as_its_message(self) -> None:
        original = message(1)

        assert str(MessageProxy(original)) == str(original)
        assert repr(original) in repr(MessageProxy(original))

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, lambda proxy: pickle.loads(pickle.dumps(proxy))]
    )
    def test_it_can_be_copied_and_pickled(self, duplicate: Callable[[MessageProxy], MessageProxy]) -> None:
        proxy = MessageProxy(message(1))
        proxy.fail()

        twin = duplicate(proxy)

        assert twin == proxy
        assert twin.failed
        assert twin.args == (1,)
