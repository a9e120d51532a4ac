"""Actors that run for too long are interrupted."""

from __future__ import annotations

import gc
import logging
import threading
import time
from typing import Any

import pytest

import pgqueue
from pgqueue.broker import MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.faults import Fault
from pgqueue.middleware import TimeLimit, TimeLimitExceeded, time_limit
from tests.conftest import WorkerFor
from tests.support.eventually import eventually


class Raised(list[tuple[int, Any]]):
    """Stands in for `raise_thread_exception`."""

    def __call__(self, thread_id: int, exception: Any) -> None:
        self.append((thread_id, exception))


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Raised:
    raised = Raised()
    monkeypatch.setattr(time_limit, "raise_thread_exception", raised)
    return raised


def timers(limit: TimeLimit) -> time_limit.ThreadTimers:
    assert isinstance(limit.manager, time_limit.ThreadTimers)
    return limit.manager


@pytest.mark.parametrize(
    ("own", "actors", "limit_s"),
    [
        ({}, {}, 5),
        ({}, {"time_limit": 2000}, 2),
        ({"time_limit": 1000}, {"time_limit": 2000}, 1),
        ({"time_limit": 0}, {"time_limit": 2000}, 2),
        ({"time_limit": 0}, {"time_limit": 0}, 5),
    ],
)
def test_the_nearest_limit_that_is_set_decides(
    stub_broker: StubBroker,
    own: dict[str, Any],
    actors: dict[str, Any],
    limit_s: int,
    raised: Raised,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing() -> None:
        pass

    message = MessageProxy(pgqueue.actor(**actors)(nothing).message_with_options(**own))
    now = [1000.0]
    monkeypatch.setattr(time_limit, "monotonic", lambda: now[0])
    limit = TimeLimit(time_limit=5000)
    limit.before_process_message(stub_broker, message)
    now[0] += limit_s - 0.001
    timers(limit)._handle_deadlines()
    assert raised == []
    now[0] += 0.002
    timers(limit)._handle_deadlines()
    timers(limit)._handle_deadlines()
    assert raised == [(threading.get_ident(), TimeLimitExceeded)]


def test_infinity_is_no_limit(
    stub_broker: StubBroker, raised: Raised, monkeypatch: pytest.MonkeyPatch
) -> None:
    @pgqueue.actor(time_limit=float("inf"))
    def nothing() -> None:
        pass

    limit = TimeLimit(time_limit=1)
    limit.before_process_message(stub_broker, MessageProxy(nothing.message()))
    monkeypatch.setattr(time_limit, "monotonic", lambda: 1e300)
    timers(limit)._handle_deadlines()
    assert raised == []


def test_the_deadlines_of_threads_may_be_set(raised: Raised, caplog: pytest.LogCaptureFixture) -> None:
    limit = TimeLimit()
    now = time.monotonic()
    timers(limit).deadlines = {1: now - 2, 2: now - 1, 3: now + 1000, 4: None}
    with caplog.at_level(logging.WARNING, logger="pgqueue.middleware.time_limit.TimeLimit"):
        timers(limit)._handle_deadlines()
    assert raised == [(1, TimeLimitExceeded), (2, TimeLimitExceeded)]
    assert [record.getMessage() for record in caplog.records] == [
        "Time limit exceeded. Raising exception in worker thread 1.",
        "Time limit exceeded. Raising exception in worker thread 2.",
    ]


@pytest.mark.parametrize("hook", ["after_process_message", "after_skip_message"])
def test_the_end_of_a_message_disarms(stub_broker: StubBroker, hook: str, raised: Raised) -> None:
    @pgqueue.actor(time_limit=0.001)
    def nothing() -> None:
        pass

    limit, message = TimeLimit(), MessageProxy(nothing.message())
    limit.before_process_message(stub_broker, message)
    getattr(limit, hook)(stub_broker, message)
    getattr(limit, hook)(stub_broker, message)
    timers(limit)._handle_deadlines()
    assert raised == []


def test_the_watch_goes_on_when_it_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stub_broker: StubBroker
) -> None:
    raised: list[int] = []

    def fail_at_first(thread_id: int, _: object) -> None:
        raised.append(thread_id)
        if len(raised) == 1:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(time_limit, "raise_thread_exception", fail_at_first)
    limit = TimeLimit(interval=1)
    limit.after_process_boot(stub_broker)
    timers(limit).add_timeout(1, 0)
    eventually(lambda: _assert_equal(raised, [1]))
    timers(limit).add_timeout(2, 0)
    eventually(lambda: _assert_equal(raised, [1, 2]))
    (line,) = [record for record in caplog.records if "failed unexpectedly" in record.getMessage()]
    assert vars(line)["fault"] == Fault.THREAD_FAILED


def _assert_equal(found: list[int], expected: list[int]) -> None:
    assert found == expected


def test_nothing_is_raised_once_a_thread_has_disarmed(stub_broker: StubBroker) -> None:
    """The thread waits in its hook for an exception that is on its way (the hook and raising share a lock)."""

    @pgqueue.actor(time_limit=0.001)
    def nothing() -> None:
        pass

    limit = TimeLimit()
    limit.before_process_message(stub_broker, MessageProxy(nothing.message()))
    disarmed = threading.Event()

    def disarm() -> None:
        limit.after_skip_message(stub_broker, MessageProxy(nothing.message()))
        disarmed.set()

    with timers(limit)._lock:
        thread = threading.Thread(target=disarm)
        thread.start()
        assert not disarmed.wait(0.05)
    assert disarmed.wait(5)
    thread.join()


def test_an_actor_that_overruns_is_interrupted_and_fails(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    @pgqueue.actor(max_retries=0, time_limit=50)
    def for_ever() -> None:
        while True:
            time.sleep(0.001)

    stub_broker.middleware[:] = [
        TimeLimit(interval=10) if isinstance(each, TimeLimit) else each for each in stub_broker.middleware
    ]
    stub_broker.emit_after("process_boot")
    for_ever.send()
    with caplog.at_level(logging.WARNING, logger="pgqueue.middleware.time_limit.TimeLimit"):
        worker_for(stub_broker)
        with pytest.raises(TimeLimitExceeded):
            stub_broker.join("default", timeout=10_000)
    assert "Raising exception in worker thread" in caplog.text


def test_booting_twice_starts_one_thread(stub_broker: StubBroker) -> None:
    limit = TimeLimit(interval=10)
    limit.after_process_boot(stub_broker)
    watcher = timers(limit)._watcher
    limit.after_process_boot(stub_broker)
    assert timers(limit)._watcher is watcher


def test_the_thread_ends_with_its_middleware(stub_broker: StubBroker) -> None:
    limit = TimeLimit(interval=10)
    limit.after_process_boot(stub_broker)
    watcher = timers(limit)._watcher
    assert watcher is not None
    assert watcher.daemon
    del limit
    gc.collect()

    def ended() -> None:
        assert not watcher.is_alive()

    eventually(ended)


def test_a_platform_without_interrupts_is_warned_of(
    stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limit, "current_platform", "PyPy")
    limit = TimeLimit()
    with pytest.warns(
        RuntimeWarning, match=r"TimeLimit cannot kill threads on your current platform \('PyPy'\)\."
    ):
        limit.after_process_boot(stub_broker)
    assert timers(limit)._watcher is None
