from __future__ import annotations

import threading
import time
from queue import Empty
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from pgqueue.common import join_queue
from pgqueue.worker.consumer import ConsumerThread
from pgqueue.worker.work_queue import WorkQueue

from ..support.eventually import eventually

#: The queue never looks at them.
FETCHED_BY = cast(ConsumerThread, None)


def add(queue: WorkQueue, message: Any, *, priority: int = 0) -> None:
    queue.add(message, priority=priority, fetched_by=FETCHED_BY)


@given(st.lists(st.integers(-3, 3)))
def test_items_come_by_priority_and_then_in_the_order_of_arrival(priorities: list[int]) -> None:
    queue = WorkQueue()
    for number, priority in enumerate(priorities):
        add(queue, number, priority=priority)
    taken = [queue.get_nowait()[2] for _ in priorities]
    assert taken == sorted(range(len(priorities)), key=lambda number: priorities[number])


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c"])), max_size=60))
def test_each_queue_is_in_order_and_none_waits_for_what_was_fetched_of_others(
    steps: list[str | None],
) -> None:
    """None takes one; a name adds one of that queue. Of two that wait, each has its turn before the other's second."""
    queue = WorkQueue()
    waiting: dict[str, list[int]] = {name: [] for name in "abc"}
    passed_over: dict[str, dict[str, int]] = {name: {} for name in "abc"}
    for number, step in enumerate(steps):
        if step is not None:
            if not waiting[step]:
                passed_over[step] = {}
            waiting[step].append(number)
            queue.add(cast(Any, (step, number)), priority=0, fetched_by=FETCHED_BY, turn_of=step)
        elif any(waiting.values()):
            name, taken = cast(Any, queue.get_nowait()[2])
            assert taken == waiting[name].pop(0)
            for other in "abc":
                if other != name and waiting[other]:
                    times = passed_over[other][name] = passed_over[other].get(name, 0) + 1
                    assert times <= 2
            passed_over[name] = {}


def test_a_message_of_a_quiet_queue_comes_before_what_waits_of_a_flood() -> None:
    queue = WorkQueue()
    for number in range(300):
        queue.add(cast(Any, number), priority=0, fetched_by=FETCHED_BY, turn_of="flood")
    for _ in range(100):
        queue.get_nowait()
    queue.add(cast(Any, "quiet"), priority=0, fetched_by=FETCHED_BY, turn_of="quiet")
    assert "quiet" in [queue.get_nowait()[2] for _ in range(2)]


def test_messages_are_never_compared() -> None:
    queue = WorkQueue()
    for _ in range(3):
        add(queue, object())
    assert queue.qsize() == 3


def test_an_empty_queue_raises_empty_after_the_timeout() -> None:
    with pytest.raises(Empty):
        WorkQueue().get(timeout=0.01)
    with pytest.raises(Empty):
        WorkQueue().get_nowait()


def test_join_waits_for_items_to_be_done() -> None:
    queue = WorkQueue()
    add(queue, "message")
    joiner = threading.Thread(target=queue.join)
    joiner.start()
    queue.get()
    assert queue.unfinished_tasks == 1
    assert joiner.is_alive()
    queue.task_done()
    joiner.join(5)
    assert not joiner.is_alive()
    join_queue(queue, timeout=0)


def test_taking_everything_finishes_it() -> None:
    queue = WorkQueue()
    for number, priority in enumerate([3, 1, 2]):
        add(queue, number, priority=priority)
    assert [message for _, _, message, _ in queue.take_all()] == [cast(Any, n) for n in (0, 1, 2)]
    queue.join()
    assert queue.empty()


def test_waiting_threads_return_when_they_are_woken() -> None:
    queue = WorkQueue()
    ended: list[bool] = []

    def wait() -> None:
        with pytest.raises(Empty):
            queue.get()
        ended.append(True)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()

    def all_ended() -> None:
        queue.wake_all()
        assert len(ended) == 3

    eventually(all_ended)


def test_as_many_items_are_worked_on_at_once_as_there_are_threads() -> None:
    """Each woken thread wakes the next, so that a blocking item never keeps the ones behind it waiting."""
    queue = WorkQueue()
    together = threading.Barrier(5, timeout=5)

    def work() -> None:
        queue.get()
        together.wait()
        queue.task_done()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(4):
        add(queue, number)
    together.wait()
    queue.join()


def test_nothing_is_lost_or_done_twice_among_many_threads() -> None:
    queue, done = WorkQueue(), []

    def work() -> None:
        while True:
            try:
                item = queue.get(timeout=0.2)
            except Empty:
                return
            done.append(item[2])
            queue.task_done()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(2000):
        add(queue, number)
        if number % 100 == 0:
            time.sleep(0)
    for thread in threads:
        thread.join(10)
    assert sorted(done, key=int) == list(range(2000))
    assert queue.unfinished_tasks == 0


def test_what_is_unwanted_is_dropped_and_the_rest_keeps_its_order() -> None:
    queue = WorkQueue()
    for number in range(6):
        queue.add(cast(Any, number), priority=-number % 3, fetched_by=cast(Any, None))
    queue.drop(lambda message, _: cast(Any, message) % 2 == 0)
    assert queue.unfinished_tasks == 3
    assert [queue.get(block=False)[2] for _ in range(3)] == [cast(Any, n) for n in (3, 5, 1)]
    queue.add(cast(Any, 1), priority=0, fetched_by=cast(Any, None))
    for _ in range(3):
        queue.task_done()
    queue.drop(lambda *_: True)
    queue.join()
