"""Failed messages are tried again, until it is enough."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from hypothesis import given, strategies as st

import pgqueue
from pgqueue import Message, Retry
from pgqueue.broker import MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import RateLimitExceeded
from pgqueue.middleware import Retries
from pgqueue.middleware.retries import DEFAULT_MAX_BACKOFF, GiveUp, TryAgain, decide, is_expected
from tests.conftest import WorkerFor

# -- what is decided

RETRIES = st.integers(min_value=0, max_value=10_000)
BACKOFF = st.integers(min_value=0, max_value=10**12)


@given(
    retries=RETRIES,
    max_retries=st.none() | st.integers(min_value=0, max_value=100),
    least=BACKOFF,
    most=BACKOFF,
)
def test_it_is_enough_when_there_were_as_many_retries_as_allowed(
    retries: int, max_retries: int | None, least: int, most: int
) -> None:
    decision = decide(
        retries, ValueError(), max_retries=max_retries, retry_when=None, min_backoff=least, max_backoff=most
    )
    if max_retries is not None and retries >= max_retries:
        assert decision == GiveUp(max_retries)
    else:
        assert isinstance(decision, TryAgain)


@given(retries=RETRIES, least=st.integers(min_value=0, max_value=10**6), most=BACKOFF)
def test_the_backoff_is_between_its_limits(retries: int, least: int, most: int) -> None:
    decision = decide(
        retries, ValueError(), max_retries=None, retry_when=None, min_backoff=least, max_backoff=most
    )
    assert isinstance(decision, TryAgain)
    highest = min(most, DEFAULT_MAX_BACKOFF)
    assert min(least, highest // 2) <= decision.delay_ms <= highest


@given(retries=RETRIES, answer=st.booleans(), max_retries=st.none() | RETRIES)
def test_retry_when_takes_the_place_of_max_retries(
    retries: int, answer: bool, max_retries: int | None
) -> None:
    asked: list[tuple[int, BaseException]] = []

    def retry_when(retries: int, exception: BaseException) -> bool:
        asked.append((retries, exception))
        return answer

    error = ValueError()
    decision = decide(
        retries, error, max_retries=max_retries, retry_when=retry_when, min_backoff=1, max_backoff=1
    )
    assert isinstance(decision, TryAgain) == answer
    assert asked == [(retries, error)]


@given(delay=st.integers(min_value=0, max_value=10**15))
def test_an_actor_may_ask_for_any_delay(delay: int) -> None:
    decision = decide(
        3, Retry(delay=delay), max_retries=5, retry_when=None, min_backoff=9999, max_backoff=9999
    )
    assert decision == TryAgain(delay)


def test_an_actor_that_asks_too_often_is_refused() -> None:
    decision = decide(5, Retry(delay=1), max_retries=5, retry_when=None, min_backoff=1, max_backoff=1)
    assert decision == GiveUp(5)


# -- the hook


def failed(
    broker: StubBroker,
    *,
    own: dict[str, Any] | None = None,
    actors: dict[str, Any] | None = None,
    exception: BaseException | None = None,
    **middleware: Any,
) -> tuple[MessageProxy, Message[Any] | None]:
    """Let a message fail; return it, and its copy in the delay queue, if there is one."""

    def fail() -> None:
        pass

    actor = pgqueue.actor(broker=broker, actor_name=f"fail{len(broker.actors)}", **actors or {})(fail)
    message = MessageProxy(actor.message_with_options(**own or {}))
    Retries(**middleware).after_process_message(broker, message, exception=exception or ValueError("no"))
    waiting = broker.queues["default.DQ"].queue
    return message, Message.decode(waiting[-1]) if waiting else None


def test_a_success_is_left_alone(stub_broker: StubBroker) -> None:
    @pgqueue.actor
    def one() -> int:
        return 1

    message = MessageProxy(one.message())
    Retries().after_process_message(stub_broker, message, result=1)
    assert message.options == {}
    assert not message.failed


def test_a_retry_is_the_same_message_with_its_history(stub_broker: StubBroker) -> None:
    message, copy = failed(stub_broker, own={"retries": 2, "mine": 1})
    assert copy is not None
    assert (copy.message_id, copy.message_timestamp) == (message.message_id, message.message_timestamp)
    assert copy.options["retries"] == 3
    assert copy.options["mine"] == 1
    assert "ValueError: no" in copy.options["traceback"]
    assert copy.options["requeue_timestamp"] >= message.message_timestamp
    assert not message.failed


def test_a_traceback_has_its_innermost_thirty_frames(stub_broker: StubBroker) -> None:
    # Two that call each other, for a traceback leaves out the repetitions of one line.
    def innermost(depth: int) -> None:
        if depth == 0:
            raise ValueError("deep")
        other(depth - 1)

    def other(depth: int) -> None:
        innermost(depth - 1)

    with pytest.raises(ValueError, match="deep") as raised:
        innermost(100)
    message, _ = failed(stub_broker, exception=raised.value)
    text = message.options["traceback"]
    assert 'raise ValueError("deep")' in text
    assert text.count("  File ") == 30


@pytest.mark.parametrize(
    ("own", "actors", "middleware", "tried_again"),
    [
        ({}, {}, {}, True),
        ({}, {}, {"max_retries": 0}, False),
        ({}, {"max_retries": 0}, {}, False),
        ({"max_retries": 0}, {"max_retries": 5}, {}, False),
        ({"max_retries": 5}, {"max_retries": 0}, {}, True),
        ({"max_retries": None, "retries": 1000}, {"max_retries": 0}, {}, True),
        ({"retries": 1000}, {"max_retries": None}, {}, True),
        ({"retries": 1000}, {}, {"max_retries": None}, True),
        ({"retries": 20}, {}, {}, False),
        ({"retries": 19}, {}, {}, True),
    ],
)
def test_the_nearest_max_retries_decides(
    stub_broker: StubBroker,
    own: dict[str, Any],
    actors: dict[str, Any],
    middleware: dict[str, Any],
    tried_again: bool,
) -> None:
    message, copy = failed(stub_broker, own=own, actors=actors, **middleware)
    assert message.failed == (not tried_again)
    assert (copy is not None) == tried_again


@pytest.mark.parametrize(
    ("own", "actors", "middleware", "least", "most"),
    [
        ({}, {}, {}, 15_000, 30_000),
        ({}, {}, {"min_backoff": 0}, 15_000, 30_000),
        ({}, {}, {"min_backoff": 100}, 100, 200),
        ({}, {"min_backoff": 0}, {"min_backoff": 100}, 0, 0),
        ({"min_backoff": 0}, {"min_backoff": 100}, {}, 0, 0),
        ({}, {"min_backoff": None}, {"min_backoff": 100}, 100, 200),
        ({}, {"min_backoff": 1000, "max_backoff": 10}, {}, 5, 10),
        (
            {},
            {"min_backoff": 10**12, "max_backoff": 10**12},
            {},
            DEFAULT_MAX_BACKOFF // 2,
            DEFAULT_MAX_BACKOFF,
        ),
    ],
)
def test_the_nearest_backoff_decides(
    stub_broker: StubBroker,
    own: dict[str, Any],
    actors: dict[str, Any],
    middleware: dict[str, Any],
    least: int,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgqueue.brokers.stub.current_millis", lambda: 0)
    _, copy = failed(stub_broker, own=own, actors=actors, **middleware)
    assert copy is not None
    assert least <= copy.options["eta"] <= most


@pytest.mark.parametrize(
    ("own", "actors"), [({}, {"throws": ValueError}), ({"throws": (KeyError, ValueError)}, {})]
)
def test_an_expected_exception_ends_it_at_once(
    stub_broker: StubBroker, own: dict[str, Any], actors: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        message, copy = failed(stub_broker, own=own, actors=actors)
    assert message.failed
    assert copy is None
    assert "retries" not in message.options
    assert [record.msg for record in caplog.records] == ["Aborting message %r."]


def test_another_exception_than_the_expected_is_tried_again(stub_broker: StubBroker) -> None:
    message, copy = failed(stub_broker, actors={"throws": KeyError})
    assert copy is not None
    assert not message.failed


def test_a_message_has_no_retry_when_of_its_own(stub_broker: StubBroker) -> None:
    message, copy = failed(stub_broker, own={"retry_when": None, "max_retries": 0})
    assert message.failed
    assert copy is None
    message, copy = failed(stub_broker, own={"retry_when": "never asked"})
    assert copy is not None


def test_the_actors_retry_when_comes_before_the_middlewares(stub_broker: StubBroker) -> None:
    def never(retries: int, exception: BaseException) -> bool:
        return False

    def always(retries: int, exception: BaseException) -> bool:
        return True

    message, _ = failed(stub_broker, actors={"max_retries": 5}, retry_when=never)
    assert message.failed
    message, _ = failed(stub_broker, actors={"retry_when": always, "max_retries": 0}, retry_when=never)
    assert not message.failed


def test_retries_are_logged(stub_broker: StubBroker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        retried, _ = failed(stub_broker)
        buried, _ = failed(stub_broker, max_retries=0)
    assert [(record.levelname, record.msg) for record in caplog.records] == [
        ("INFO", "Retrying message %r in %d milliseconds."),
        ("WARNING", "Retries exceeded for message %r."),
    ]
    # Its id, not all of it: arguments may be secret, and its options hold the traceback.
    assert f"Retrying message '{retried.message_id}' in" in caplog.text
    assert f"Retries exceeded for message '{buried.message_id}'." in caplog.text


def test_a_retry_that_cannot_be_enqueued_is_not_lost(
    stub_broker: StubBroker, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise pgqueue.ConnectionClosed("gone")

    @pgqueue.actor
    def fail() -> None:
        raise ValueError("no")

    fail.send()
    monkeypatch.setattr(stub_broker, "enqueue", refuse)
    worker_for(stub_broker)
    with pytest.raises(ValueError, match="no"):
        stub_broker.join("default")
    assert len(stub_broker.dead_letters) == 1


# -- with a worker


def test_a_message_is_run_once_more_than_it_is_retried(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    attempts = []

    @pgqueue.actor(max_retries=3, min_backoff=1, max_backoff=1)
    def fail() -> None:
        attempts.append(1)
        raise ValueError("no")

    fail.send()
    worker_for(stub_broker)
    with pytest.raises(ValueError, match="no"):
        stub_broker.join("default")
    assert len(attempts) == 4
    assert len(stub_broker.dead_letters) == 1


def test_who_asked_for_it_is_told_that_retries_are_over(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    told: list[Any] = []

    @pgqueue.actor
    def tell(message: dict[str, Any], history: dict[str, Any]) -> None:
        told.append((message["actor_name"], history))

    @pgqueue.actor(max_retries=2, min_backoff=1, max_backoff=1, on_retry_exhausted="tell")
    def fail() -> None:
        raise ValueError("no")

    fail.send()
    worker_for(stub_broker)
    stub_broker.join("default", fail_fast=False)
    assert told == [("fail", {"retries": 2, "max_retries": 2})]


def test_ten_retries_without_backoff_are_quick(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    attempts: list[float] = []

    @pgqueue.actor(max_retries=10, min_backoff=0, max_backoff=0)
    def fail() -> None:
        attempts.append(time.monotonic())
        raise ValueError("no")

    worker_for(stub_broker, worker_timeout=20)
    fail.send()
    stub_broker.join("default", fail_fast=False)
    assert len(attempts) == 11
    # Dramatiq's bound is 0.2 s on an idle machine; the delay queue alone may take a tick of 20 ms for each.
    # And a busy machine for longer; the default backoff would take minutes.
    assert attempts[-1] - attempts[0] < 10


def test_a_rate_limit_is_an_error_like_any_other(stub_broker: StubBroker) -> None:
    _message, copy = failed(stub_broker, exception=RateLimitExceeded("slow down"))
    assert copy is not None
    assert copy.options["retries"] == 1


@pytest.mark.parametrize(
    ("throws", "expected"),
    [
        (ValueError, True),
        ((KeyError, ValueError), True),
        (KeyError | ValueError, True),
        (KeyError, False),
        (None, False),
        ("ValueError", False),
        (["ValueError"], False),
    ],
)
def test_what_is_no_class_of_exceptions_expects_nothing(throws: Any, expected: bool) -> None:
    assert is_expected(ValueError(), throws) is expected


def test_a_fault_in_the_decision_loses_no_message(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    @pgqueue.actor(retry_when=lambda: True)  # takes two arguments
    def fail() -> None:
        raise ValueError("oh")

    worker_for(stub_broker)
    fail.send()
    with pytest.raises(ValueError, match="oh"):
        stub_broker.join("default", timeout=5000)
    assert len(stub_broker.dead_letters) == 1
