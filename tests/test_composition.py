from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import pgqueue
from pgqueue import Actor, Message, Worker, group, pipeline
from pgqueue.brokers.stub import StubBroker
from pgqueue.common import current_millis
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import StubBackend as LimiterBackend
from pgqueue.results import ResultFailure, ResultMissing, Results, ResultTimeout
from pgqueue.results.backends import StubBackend

Add = Actor[..., int]


@pytest.fixture
def broker(stub_broker: StubBroker) -> StubBroker:
    stub_broker.add_middleware(Results(backend=StubBackend(), store_results=True))
    return stub_broker


@pytest.fixture
def add(broker: StubBroker) -> Add:
    @pgqueue.actor
    def add(x: int, y: int) -> int:
        return x + y

    return add


def store(broker: StubBroker, message: Message[Any], result: Any) -> None:
    broker.get_results_backend().store_result(message, result, 60_000)


def queued(broker: StubBroker, queue_name: str = "default") -> list[Message[Any]]:
    return [Message.decode(data) for data in list(broker.queues[queue_name].queue)]


class TestPipeline:
    def test_each_message_leads_to_the_next_and_so_the_first_to_all(self, add: Add) -> None:
        pipe = pipeline([add.message(1, 2), add.message(3), add.message(4)])

        first, second, third = pipe.messages
        assert first.options["pipe_target"] == second.asdict()
        assert first.options["pipe_target"]["options"] is second.options
        assert first.options["pipe_target"]["options"]["pipe_target"] == third.asdict()
        assert "pipe_target" not in third.options

    def test_the_messages_are_copies(self, add: Add) -> None:
        messages = [add.message(1, 2), add.message(3)]

        pipe = pipeline(messages)

        assert [message.options for message in messages] == [{}, {}]
        assert [message.message_id for message in pipe.messages] == [each.message_id for each in messages]

    def test_pipelines_in_it_are_taken_apart(self, add: Add) -> None:
        inner = pipeline([add.message(3), add.message(4)])

        pipe = pipeline([add.message(1, 2), inner, add.message(5)])

        assert [message.args for message in pipe.messages] == [(1, 2), (3,), (4,), (5,)]
        assert len(pipe) == 4
        assert pipe.messages[2].options["pipe_target"] == pipe.messages[3].asdict()
        assert "pipe_target" not in inner.messages[1].options

    def test_a_bar_makes_and_extends_pipelines(self, add: Add) -> None:
        first = add.message(1, 2) | add.message(3)
        second = first | add.message(4)
        third = second | first

        assert isinstance(first, pipeline)
        assert [len(pipe) for pipe in (first, second, third)] == [2, 3, 5]
        assert str(first) == "pipeline([add(1, 2), add(3)])"

    def test_it_stays_on_its_broker(self, add: Add) -> None:
        other = StubBroker()

        assert (pipeline([add.message(1, 2)], broker=other) | add.message(3)).broker is other

    def test_running_it_sends_the_first_message(self, add: Add, broker: StubBroker) -> None:
        pipe = add.message(1, 2) | add.message(3)

        assert pipe.run() is pipe
        assert [message.message_id for message in queued(broker)] == [pipe.messages[0].message_id]

    @pytest.mark.parametrize(
        ("delay", "own", "expected"),
        [
            (None, None, None),
            (0, None, None),
            (None, 0, None),
            (1000, None, 1000),
            (None, 1000, 1000),
            (1000, 5000, 5000),
            (5000, 1000, 5000),
            (timedelta(seconds=1), None, 1000),
        ],
    )
    def test_it_starts_after_the_longer_of_two_delays(
        self,
        delay: int | timedelta | None,
        own: int | None,
        expected: int | None,
        add: Add,
        broker: StubBroker,
    ) -> None:
        options: dict[str, Any] = {} if own is None else {"delay": own}
        pipe = pipeline([add.message_with_options(args=(1, 2), **options)])
        now = current_millis()

        pipe.run(delay=delay)

        if expected is None:
            assert len(queued(broker)) == 1
        else:
            [sent] = queued(broker, "default.DQ")
            assert 0 <= sent.options["eta"] - now - expected < 10_000

    def test_an_empty_one_does_nothing(self, broker: StubBroker) -> None:
        pipe = pipeline([])

        assert pipe.run() is pipe
        assert pipe.completed

    def test_its_result_is_the_last_one(self, add: Add, stub_worker: Worker) -> None:
        pipe = (add.message(1, 2) | add.message(3) | add.message(4)).run()

        assert pipe.get_result(block=True, timeout=5000) == 10
        assert list(pipe.get_results()) == [3, 6, 10]
        assert pipe.completed
        assert pipe.completed_count == 3

    def test_it_is_completed_when_all_steps_have_results(self, add: Add, broker: StubBroker) -> None:
        pipe = add.message(1, 2) | add.message(3)
        assert (pipe.completed, pipe.completed_count) == (False, 0)

        store(broker, pipe.messages[0], 3)
        assert (pipe.completed, pipe.completed_count) == (False, 1)

        store(broker, pipe.messages[1], 6)
        assert (pipe.completed, pipe.completed_count) == (True, 2)

    def test_a_failed_step_shows(self, add: Add, broker: StubBroker) -> None:
        pipe = pipeline([add.message(1, 2)])
        broker.get_results_backend().store_exception(pipe.messages[0], ValueError("oh"), 60_000)

        with pytest.raises(ResultFailure):
            _ = pipe.completed

    def test_without_blocking_a_result_is_there_or_missing(self, add: Add) -> None:
        pipe = pipeline([add.message(1, 2)])

        with pytest.raises(ResultMissing):
            pipe.get_result()
        with pytest.raises(ResultMissing):
            list(pipe.get_results())

    def test_all_its_results_share_one_timeout(self, add: Add) -> None:
        pipe = add.message(1, 2) | add.message(3)
        started = time.monotonic()

        with pytest.raises(ResultTimeout):
            list(pipe.get_results(block=True, timeout=50))
        assert time.monotonic() - started < 2

    @pytest.mark.parametrize("timeout", [None, 0])
    def test_without_a_timeout_each_step_has_the_default_of_its_own(
        self, timeout: int | None, add: Add, broker: StubBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def poll(self: StubBackend, key: str, timeout: int) -> Any:
            asked.append(timeout)
            return 1

        monkeypatch.setattr(StubBackend, "_poll", poll)
        pipe = add.message(1, 2) | add.message(3)

        assert list(pipe.get_results(block=True, timeout=timeout)) == [1, 1]
        assert list(group(pipe.messages).get_results(block=True, timeout=timeout)) == [1, 1]
        assert asked == [10_000] * 4


class TestGroup:
    def test_running_it_sends_its_children_in_order(self, add: Add, broker: StubBroker) -> None:
        messages = [add.message(1, 2), add.message(3, 4)]
        pipe = add.message(5, 6) | add.message(7)
        inner = group([add.message(8, 9)])
        outer = group([messages[0], pipe, messages[1], inner])

        assert outer.run() is outer
        assert len(outer) == 4
        assert [message.args for message in queued(broker)] == [(1, 2), (5, 6), (3, 4), (8, 9)]
        assert queued(broker)[0] == messages[0]

    @pytest.mark.parametrize("delay", [1000, timedelta(seconds=1)])
    def test_a_delay_is_every_child_s(self, delay: int | timedelta, add: Add, broker: StubBroker) -> None:
        group([add.message(1, 2), add.message(3, 4) | add.message(5)]).run(delay=delay)

        assert len(queued(broker, "default.DQ")) == 2

    def test_results_come_in_the_order_of_the_children(self, add: Add, stub_worker: Worker) -> None:
        inner = group([add.message(5, 6), add.message(7, 8)])
        outer = group([add.message(1, 2), add.message(3, 4) | add.message(5), inner]).run()

        outer.wait(timeout=5000)

        assert list(outer.get_results()) == [3, 12, [11, 15]]
        assert outer.completed
        assert outer.completed_count == 3

    def test_children_are_counted_in_any_order(self, add: Add, broker: StubBroker) -> None:
        inner = group([add.message(5, 6)])
        outer = group([add.message(1, 2), add.message(3, 4), inner])
        second = outer.children[1]
        assert isinstance(second, Message)

        store(broker, second, 7)

        assert outer.completed_count == 1
        assert not outer.completed

    def test_waiting_ends_in_time(self, add: Add) -> None:
        with pytest.raises(ResultTimeout):
            group([add.message(1, 2)]).wait(timeout=50)

    def test_results_come_from_its_own_broker(self, add: Add) -> None:
        other = StubBroker()
        backend = StubBackend(namespace="other")
        other.add_middleware(Results(backend=backend))
        message = add.message(1, 2)
        backend.store_result(message, "other", 60_000)

        assert list(group([message], broker=other).get_results()) == ["other"]
        assert group([message], broker=other).completed

    def test_neighbouring_messages_are_sent_together(
        self, add: Add, broker: StubBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[int] = []
        enqueue_many: Callable[..., Any] = broker.enqueue_many

        def count(messages: Any, *, delay: int | None = None) -> Any:
            batch = list(messages)
            sent.append(len(batch))
            return enqueue_many(batch, delay=delay)

        monkeypatch.setattr(broker, "enqueue_many", count)

        group([add.message(1, 2), add.message(3, 4), add.message(5, 6) | add.message(7)]).run()

        assert sent == [2]

    def test_it_says_what_is_in_it(self, add: Add) -> None:
        assert str(group([add.message(1, 2), add.message(3) | add.message(4)])) == (
            "group([add(1, 2), pipeline([add(3), add(4)])])"
        )


class TestCallbacks:
    @pytest.fixture
    def limiter(self, broker: StubBroker) -> LimiterBackend:
        backend = LimiterBackend()
        broker.add_middleware(GroupCallbacks(backend, barrier_ttl=60_000))
        return backend

    def test_they_need_their_middleware(self, add: Add, broker: StubBroker) -> None:
        together = group([add.message(1, 2)])
        together.add_completion_callback(add.message(0, 0))

        with pytest.raises(RuntimeError, match="GroupCallbacks"):
            together.run()
        assert queued(broker) == []

    def test_a_group_within_is_refused_before_anything_is_sent(
        self, add: Add, broker: StubBroker, limiter: LimiterBackend
    ) -> None:
        together = group([add.message(1, 2), group([])])
        together.add_completion_callback(add.message(0, 0))

        with pytest.raises(NotImplementedError):
            together.run()
        assert queued(broker) == []

    def test_every_run_has_its_own_barrier(
        self, add: Add, broker: StubBroker, limiter: LimiterBackend
    ) -> None:
        pipe = add.message(3, 4) | add.message(5)
        together = group([add.message(1, 2), pipe])
        callback = add.message(0, 0)
        together.add_completion_callback(callback)

        together.run().run()

        single, chained, single_again, chained_again = queued(broker)
        assert single.options["group_completion_callbacks"] == [
            {**callback.asdict(), "args": [0, 0]},
        ]
        last = chained.options["pipe_target"]["options"]
        assert "group_completion_uuid" not in chained.options
        assert last["group_completion_uuid"] == single.options["group_completion_uuid"]
        assert single.options["group_completion_uuid"] != single_again.options["group_completion_uuid"]
        assert chained_again.message_id == chained.message_id
        assert pipe.messages[1].options == {}

    def test_they_run_once_all_children_have_succeeded(
        self, add: Add, broker: StubBroker, limiter: LimiterBackend, stub_worker: Worker
    ) -> None:
        together = group([add.message(1, 2), add.message(3, 4) | add.message(5)])
        callbacks = [add.message(10, 10), add.message(20, 20)]
        for callback in callbacks:
            together.add_completion_callback(callback)

        together.run()

        assert [callback.get_result(block=True, timeout=5000) for callback in callbacks] == [20, 40]
