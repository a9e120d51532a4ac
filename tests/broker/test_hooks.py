from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest

from pgqueue import Broker, Middleware
from pgqueue.middleware import (
    AgeLimit,
    MiddlewareError,
    SkipMessage,
)

from .middleware import Recorder, Second, message, raising


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
