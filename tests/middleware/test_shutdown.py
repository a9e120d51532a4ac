"""Running actors are told that their worker shuts down."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, cast

import pytest

import pgqueue
from pgqueue.broker import MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import Shutdown, ShutdownNotifications, shutdown
from tests.conftest import WorkerFor

WORKER = cast("pgqueue.Worker", None)


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The exceptions raised in threads."""
    calls: list[Any] = []
    monkeypatch.setattr(shutdown, "raise_thread_exception", lambda *call: calls.append(call))
    return calls


@pytest.mark.parametrize(
    ("default", "actors", "own", "told"),
    [
        (False, {}, {}, False),
        (True, {}, {}, True),
        (True, {"notify_shutdown": False}, {}, False),
        (False, {"notify_shutdown": True}, {}, True),
        (False, {"notify_shutdown": True}, {"notify_shutdown": False}, False),
        (False, {"notify_shutdown": False}, {"notify_shutdown": True}, True),
        (True, {"notify_shutdown": None}, {"notify_shutdown": None}, True),
    ],
)
def test_the_nearest_option_decides(
    stub_broker: StubBroker,
    default: bool,
    actors: dict[str, Any],
    own: dict[str, Any],
    told: bool,
    raised: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def nothing() -> None:
        pass

    message = MessageProxy(pgqueue.actor(**actors)(nothing).message_with_options(**own))
    middleware = ShutdownNotifications(notify_shutdown=default)
    middleware.before_process_message(stub_broker, message)
    assert middleware.should_notify(pgqueue.get_broker().get_actor("nothing"), message) is told
    with caplog.at_level(logging.INFO):
        middleware.before_worker_shutdown(stub_broker, WORKER)
    assert raised == ([(threading.get_ident(), Shutdown)] if told else [])
    assert [record.name for record in caplog.records] == (
        ["pgqueue.middleware.shutdown.ShutdownNotifications"] if told else []
    )


@pytest.mark.parametrize("hook", ["after_process_message", "after_skip_message"])
def test_threads_that_are_done_are_not_told(stub_broker: StubBroker, hook: str, raised: list[Any]) -> None:
    @pgqueue.actor(notify_shutdown=True)
    def nothing() -> None:
        pass

    middleware, message = ShutdownNotifications(), MessageProxy(nothing.message())
    middleware.before_process_message(stub_broker, message)
    getattr(middleware, hook)(stub_broker, message)
    middleware.before_worker_shutdown(stub_broker, WORKER)
    assert raised == []


def test_the_threads_to_be_told_may_be_set(
    stub_broker: StubBroker, raised: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    middleware = ShutdownNotifications()
    middleware.manager.notifications = [1, 2]
    with caplog.at_level(logging.DEBUG, logger="pgqueue.middleware.shutdown.ShutdownNotifications"):
        middleware.before_worker_shutdown(stub_broker, WORKER)
    assert raised == [(1, Shutdown), (2, Shutdown)]
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "Sending shutdown notification to worker threads..."),
        ("INFO", "Worker shutdown notification. Raising exception in worker thread 1."),
        ("INFO", "Worker shutdown notification. Raising exception in worker thread 2."),
    ]


def test_the_default_may_be_given_by_position() -> None:
    assert ShutdownNotifications(True).notify_shutdown


def test_threads_are_told_once(stub_broker: StubBroker, raised: list[Any]) -> None:
    @pgqueue.actor(notify_shutdown=True)
    def nothing() -> None:
        pass

    middleware = ShutdownNotifications()
    middleware.before_process_message(stub_broker, MessageProxy(nothing.message()))
    middleware.before_worker_shutdown(stub_broker, WORKER)
    middleware.before_worker_shutdown(stub_broker, WORKER)
    assert len(raised) == 1


def test_a_running_actor_is_interrupted_and_retried(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    started, ended = threading.Event(), []

    @pgqueue.actor(notify_shutdown=True)
    def for_ever() -> None:
        started.set()
        try:
            while True:
                time.sleep(0.001)
        except Shutdown as error:
            ended.append(type(error))
            raise

    for_ever.send()
    worker = worker_for(stub_broker)
    assert started.wait(5)
    worker.stop()
    assert ended == [Shutdown]
    assert stub_broker.queues["default.DQ"].unfinished_tasks == 1


def test_a_platform_without_interrupts_is_warned_of(
    stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "current_platform", "PyPy")
    with pytest.warns(RuntimeWarning, match=r"ShutdownNotifications cannot kill threads .* \('PyPy'\)\."):
        ShutdownNotifications().after_process_boot(stub_broker)
