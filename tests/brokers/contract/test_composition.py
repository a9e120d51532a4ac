"""Pipelines, groups and their results, as Dramatiq programs use them, on every broker with a store of its kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

import pgqueue
from pgqueue import group, pipeline
from pgqueue.broker import Broker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import MessageTooLarge
from pgqueue.middleware import GroupCallbacks, Middleware
from pgqueue.middleware.prometheus import Prometheus
from pgqueue.rate_limits import backends as limiters
from pgqueue.results import ResultFailure, Results, ResultTimeout, backends

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import PATIENCE, join


@pytest.fixture(autouse=True)
def storing(broker: Broker) -> None:
    """Store every result, and let groups have callbacks."""
    if isinstance(broker, PostgresBroker):
        broker.add_middleware(Results(backend=backends.PostgresBackend(broker=broker), store_results=True))
        broker.add_middleware(GroupCallbacks(limiters.PostgresBackend(broker=broker)))
    else:
        broker.add_middleware(Results(backend=backends.StubBackend(), store_results=True))
        broker.add_middleware(GroupCallbacks(limiters.StubBackend()))


@pytest.fixture
def add(broker: Broker) -> pgqueue.Actor[..., int]:
    @pgqueue.actor
    def add(x: int, y: int) -> int:
        return x + y

    return add


@pytest.fixture
def fail(broker: Broker) -> pgqueue.Actor[..., None]:
    @pgqueue.actor(max_retries=0)
    def fail(*args: Any) -> None:
        raise ValueError("no")

    return fail


def test_each_step_of_a_pipeline_gets_the_result_of_the_one_before(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int]
) -> None:
    pipe = add.message(1, 2) | add.message(3) | add.message(4)
    worker_for(broker)
    pipe.run()
    assert pipe.get_result(block=True, timeout=PATIENCE) == 10
    assert list(pipe.get_results()) == [3, 6, 10]
    assert pipe.completed
    assert pipe.completed_count == 3


def test_a_step_may_ignore_the_result_before_it_and_wait_a_while(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int]
) -> None:
    pipe = pipeline(
        [
            add.message(1, 2),
            add.message_with_options(args=(5, 5), pipe_ignore=True),
            add.message_with_options(args=(1,), delay=200),
        ]
    )
    worker_for(broker)
    began = time.monotonic()
    assert pipe.run().get_result(block=True, timeout=PATIENCE) == 11
    assert time.monotonic() - began >= 0.2


def test_a_pipeline_with_a_failed_step_goes_no_further_and_shows_it(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int], fail: pgqueue.Actor[..., None]
) -> None:
    pipe = pipeline([add.message(1, 2), fail.message(), add.message(1)]).run()
    worker_for(broker)
    results = pipe.get_results(block=True, timeout=PATIENCE)
    assert next(results) == 3
    with pytest.raises(ResultFailure, match="actor raised ValueError: no"):
        next(results)
    join(broker)
    with pytest.raises(ResultFailure):
        _ = pipe.completed


def test_all_results_of_a_pipeline_share_one_timeout(broker: Broker, add: pgqueue.Actor[..., int]) -> None:
    pipe = pipeline([add.message(1, 2), add.message(3)]).run()
    began = time.monotonic()
    with pytest.raises(ResultTimeout):
        list(pipe.get_results(block=True, timeout=100))
    assert 0.09 <= time.monotonic() - began < 9  # each step of its own would have had ten seconds


def test_results_of_a_group_come_in_the_order_of_its_children_nested_as_they_are(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int]
) -> None:
    inner = group([add.message(10, 1), add.message(20, 1)])
    outer = group([add.message(1, 2), pipeline([add.message(1, 2), add.message(4)]), inner])
    worker_for(broker)
    outer.run(delay=50)
    assert list(outer.get_results(block=True, timeout=PATIENCE)) == [3, 7, [11, 21]]
    assert outer.completed
    assert outer.completed_count == 3


def test_waiting_for_a_group_ends_in_time(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int]
) -> None:
    two = group([add.message(1, 2), add.message(3, 4)]).run()
    with pytest.raises(ResultTimeout):
        two.wait(timeout=100)
    assert two.completed_count == 0
    worker_for(broker)
    two.wait(timeout=PATIENCE)
    assert two.completed


def test_children_count_in_any_order(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int]
) -> None:
    first, second = add.message(1, 2), add.message(3, 4)
    two = group([first, second])
    broker.enqueue(second)
    worker_for(broker)
    assert second.get_result(block=True, timeout=PATIENCE) == 7
    assert two.completed_count == 1
    assert not two.completed


def test_callbacks_of_a_group_run_after_its_pipelines_have_ended(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int]
) -> None:
    called: list[int] = []
    pipe = pipeline([add.message(1, 2), add.message_with_options(args=(4,), delay=100)])

    @pgqueue.actor
    def finish(number: int) -> None:
        called.append(number + (pipe.completed_count if number == 1 else 0))

    two = group([pipe, add.message(1, 1)])
    two.add_completion_callback(finish.message(1))
    two.add_completion_callback(finish.message(10))
    worker_for(broker)
    two.run()

    def both_called() -> None:
        assert sorted(called) == [3, 10]

    eventually(both_called, within_s=PATIENCE / 1000)


def test_callbacks_of_a_group_with_a_failed_child_never_run(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int], fail: pgqueue.Actor[..., None]
) -> None:
    called: list[int] = []

    @pgqueue.actor
    def finish() -> None:
        called.append(1)

    two = group([fail.message(), add.message(1, 1)])
    two.add_completion_callback(finish.message())
    two.run()
    worker_for(broker)
    join(broker)
    assert called == []


def test_each_run_of_a_group_is_counted_for_itself(
    broker: Broker, worker_for: WorkerFor, add: pgqueue.Actor[..., int]
) -> None:
    called: list[int] = []

    @pgqueue.actor
    def finish() -> None:
        called.append(1)

    two = group([add.message(1, 1), add.message(2, 2)])
    two.add_completion_callback(finish.message())
    two.run()
    two.run()
    worker_for(broker)

    def called_twice() -> None:
        assert called == [1, 1]

    eventually(called_twice, within_s=PATIENCE / 1000)
    join(broker)
    called_twice()


def sent(broker: Broker) -> int:
    """How many messages are in the queues."""
    if isinstance(broker, PostgresBroker):
        return sum(broker.get_queue_message_counts("default"))
    assert isinstance(broker, StubBroker)
    return sum(queue.qsize() for queue in broker.queues.values())


def barriers(broker: Broker) -> int:
    """How many groups are waited for."""
    backend = next(one for one in broker.middleware if isinstance(one, GroupCallbacks)).rate_limiter_backend
    if isinstance(backend, limiters.StubBackend):
        return len(backend._entries)
    assert isinstance(broker, PostgresBroker)
    with broker.database.connection() as conn:
        row = conn.execute("SELECT count(*) FROM pgqueue.rate_limits").fetchone()
    assert row is not None
    return int(row[0])


Group = Callable[["pgqueue.Actor[..., int]"], "group"]

#: Groups of which one child can't be encoded, after others that can.
BAD_GROUPS: dict[str, Group] = {
    "messages": lambda add: group([add.message(1, 2), add.message(object(), 2)]),
    "a pipeline between": lambda add: group(
        [add.message(1, 2), add.message(1, 2) | add.message(3), add.message(object(), 2)]
    ),
    "a step": lambda add: group(
        [add.message(1, 2) | add.message(3), add.message(1, 2) | add.message(3) | add.message(object())]
    ),
    "a group within": lambda add: group([add.message(1, 2), group([add.message(object(), 2)])]),
    "deeper": lambda add: group([group([add.message(1, 2)]), group([group([add.message(object(), 2)])])]),
}


@pytest.mark.parametrize("is_async", [False, True], ids=["run", "run_async"])
@pytest.mark.parametrize("bad", BAD_GROUPS.values(), ids=BAD_GROUPS)
def test_of_a_group_with_a_child_that_can_not_be_encoded_nothing_is_sent(
    broker: Broker, add: pgqueue.Actor[..., int], bad: Group, is_async: bool
) -> None:
    with pytest.raises(TypeError, match="not JSON serializable") as caught:
        asyncio.run(bad(add).run_async()) if is_async else bad(add).run()
    assert "for actor 'add' was not sent" in caught.value.__notes__[-1]
    assert sent(broker) == 0


@pytest.mark.parametrize("is_async", [False, True], ids=["run", "run_async"])
@pytest.mark.parametrize("bad", ["messages", "a pipeline between", "a step"])
def test_of_a_group_with_callbacks_neither_is_a_barrier_left(
    broker: Broker, add: pgqueue.Actor[..., int], bad: str, is_async: bool
) -> None:
    made = BAD_GROUPS[bad](add)
    made.add_completion_callback(add.message(1, 1))
    with pytest.raises(TypeError, match="not JSON serializable"):
        asyncio.run(made.run_async()) if is_async else made.run()
    assert (sent(broker), barriers(broker)) == (0, 0)


def test_a_callback_that_can_not_be_encoded_keeps_a_group_from_being_sent(
    broker: Broker, add: pgqueue.Actor[..., int]
) -> None:
    inner = group([add.message(1, 2)])
    inner.add_completion_callback(add.message(object()))
    for made in (inner, group([add.message(3, 4), inner])):
        with pytest.raises(TypeError, match="not JSON serializable"):
            made.run()
    assert (sent(broker), barriers(broker)) == (0, 0)


def test_the_step_that_can_not_be_encoded_is_the_one_that_is_named(
    broker: Broker, add: pgqueue.Actor[..., int]
) -> None:
    bad = add.message(object())
    with pytest.raises(TypeError) as caught:
        group([add.message(1, 2) | bad | add.message(3)]).run()
    assert bad.message_id in caught.value.__notes__[-1]
    assert sent(broker) == 0


def test_it_is_so_beside_our_own_hooks_of_sends(broker: Broker, add: pgqueue.Actor[..., int]) -> None:
    broker.add_middleware(Prometheus())
    with pytest.raises(TypeError):
        BAD_GROUPS["a pipeline between"](add).run()
    assert sent(broker) == 0


def test_what_a_hook_makes_encodable_is_sent(broker: Broker, add: pgqueue.Actor[..., int]) -> None:
    class Names(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            message.kwargs["y"] = str(message.kwargs["y"])

    broker.add_middleware(Names())
    group([add.message(1, y=object()), add.message(2, y=object()) | add.message(3)]).run()
    assert sent(broker) == 2


def test_of_a_group_with_a_message_that_is_too_large_nothing_is_sent(
    postgres_broker: PostgresBroker, add: pgqueue.Actor[..., int]
) -> None:
    postgres_broker.max_message_size = 5_000
    with pytest.raises(MessageTooLarge):
        group([add.message(1, 2), add.message(1, 2) | add.message(3), add.message("x" * 5_000, 2)]).run()
    assert sent(postgres_broker) == 0
