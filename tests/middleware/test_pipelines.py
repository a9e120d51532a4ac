"""Results are handed on to the next step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import pgqueue
from pgqueue import Message, pipeline
from pgqueue.broker import MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import Pipelines
from tests.conftest import WorkerFor


@pytest.fixture
def calls() -> list[tuple[Any, ...]]:
    return []


@pytest.fixture
def step(stub_broker: StubBroker, calls: list[tuple[Any, ...]]) -> pgqueue.Actor[Any, int]:
    """An actor that returns the sum of its arguments."""

    @pgqueue.actor
    def step(*args: int) -> int:
        calls.append(args)
        return sum(args)

    return step


def waiting(broker: StubBroker, queue_name: str = "default") -> list[Message[Any]]:
    return [Message.decode(data) for data in broker.queues[queue_name].queue]


def test_each_step_gets_the_result_of_the_one_before(
    stub_broker: StubBroker,
    worker_for: WorkerFor,
    step: pgqueue.Actor[Any, int],
    calls: list[tuple[Any, ...]],
) -> None:
    pipeline([step.message(1), step.message(2), step.message(3)]).run()
    worker_for(stub_broker)
    stub_broker.join("default")
    assert calls == [(1,), (2, 1), (3, 3)]


def test_a_step_may_ignore_the_result(
    stub_broker: StubBroker,
    worker_for: WorkerFor,
    step: pgqueue.Actor[Any, int],
    calls: list[tuple[Any, ...]],
) -> None:
    pipeline([step.message(1), step.message_with_options(args=(2,), pipe_ignore=True), step.message(3)]).run()
    worker_for(stub_broker)
    stub_broker.join("default")
    assert calls == [(1,), (2,), (3, 2)]


def test_an_actor_may_keep_its_results_from_the_next_step(
    stub_broker: StubBroker,
    worker_for: WorkerFor,
    step: pgqueue.Actor[Any, int],
    calls: list[tuple[Any, ...]],
) -> None:
    @pgqueue.actor(pipe_ignore=True)
    def discreet(*args: int) -> int:
        calls.append(args)
        return 7

    pipeline([step.message(1), discreet.message(2), step.message(3)]).run()
    worker_for(stub_broker)
    stub_broker.join("default")
    assert calls == [(1,), (2, 1), (3,)]


@pytest.mark.parametrize("delay", [0, 50, timedelta(milliseconds=50)])
def test_a_step_may_be_delayed(
    stub_broker: StubBroker, step: pgqueue.Actor[Any, int], delay: int | timedelta
) -> None:
    target = step.message_with_options(args=(2,), delay=delay)
    message = MessageProxy(step.message_with_options(args=(1,), pipe_target=target.asdict()))
    try:
        Pipelines().after_process_message(stub_broker, message, result=1)
    except TypeError:
        # JSON has no form for a timedelta; other encoders do.
        assert isinstance(delay, timedelta)
        return
    [sent] = waiting(stub_broker, "default.DQ")
    assert sent.args == (2, 1)
    assert "eta" in sent.options


def test_nothing_follows_a_failure(stub_broker: StubBroker, step: pgqueue.Actor[Any, int]) -> None:
    message = MessageProxy(step.message_with_options(pipe_target=step.message().asdict()))
    Pipelines().after_process_message(stub_broker, message, exception=ValueError())
    message.fail()
    Pipelines().after_process_message(stub_broker, message, result=None)
    assert waiting(stub_broker) == []


def test_the_next_step_may_be_an_actor_of_another_program(
    stub_broker: StubBroker, step: pgqueue.Actor[Any, int]
) -> None:
    target: Message[Any] = Message("default", "elsewhere", (2,), {}, {})
    message = MessageProxy(step.message_with_options(pipe_target=target.asdict()))
    Pipelines().after_process_message(stub_broker, message, result=1)
    [sent] = waiting(stub_broker)
    assert sent == target.copy(args=(2, 1))
