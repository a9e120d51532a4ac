from __future__ import annotations

import threading
import time

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker
from pgqueue.errors import QueueJoinTimeout
from pgqueue.worker import Worker

from ...conftest import WorkerFor
from ...support.eventually import eventually
from .support import assert_equal, dead_letter_count, join


def test_a_queue_that_is_declared_later_is_served_too(broker: Broker, worker_for: WorkerFor) -> None:
    worker_for(broker)
    calls: list[int] = []

    @actor(broker=broker, queue_name="later")
    def work() -> None:
        calls.append(1)

    work.send()
    work.send_with_options(delay=10)
    join(broker, "later")
    assert calls == [1, 1]


def test_only_the_given_queues_are_served(broker: Broker, worker_for: WorkerFor) -> None:
    calls: list[str] = []

    def work(name: str) -> None:
        calls.append(name)

    wanted = actor(work, broker=broker, actor_name="wanted", queue_name="wanted")  # type: ignore[call-overload]
    other = actor(work, broker=broker, actor_name="other", queue_name="other")  # type: ignore[call-overload]
    worker_for(broker, queues=["wanted"])
    other.send("other")
    wanted.send("wanted")
    join(broker, "wanted")
    with pytest.raises(QueueJoinTimeout):
        join(broker, "other", timeout=150)
    assert calls == ["wanted"]


def test_a_paused_worker_runs_nothing_and_resumes_at_once(broker: Broker, worker_for: WorkerFor) -> None:
    calls: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        calls.append(number)

    worker = worker_for(broker)
    work.send(1)
    join(broker)
    worker.pause()
    work.send(2)
    with pytest.raises(QueueJoinTimeout):
        join(broker, timeout=150)
    assert calls == [1]
    started = time.monotonic()
    worker.resume()
    join(broker)
    assert calls == [1, 2]
    assert time.monotonic() - started < 2.5  # less than the delay before a consumer is restarted


def test_a_pause_begins_when_the_running_message_has_ended(broker: Broker, worker_for: WorkerFor) -> None:
    running, go_on, paused = threading.Event(), threading.Event(), threading.Event()

    @actor(broker=broker)
    def work() -> None:
        running.set()
        go_on.wait(10)

    def pause() -> None:
        worker.pause()
        paused.set()

    worker = worker_for(broker, worker_threads=2)
    work.send()
    assert running.wait(10)
    thread = threading.Thread(target=pause)
    thread.start()
    eventually(lambda: assert_equal([each.paused for each in worker.workers], [True, True]))
    assert not paused.wait(0.05)
    go_on.set()
    assert paused.wait(10)
    thread.join()


def test_a_worker_may_be_paused_and_resumed_twice(broker: Broker, worker_for: WorkerFor) -> None:
    ran = threading.Event()

    @actor(broker=broker)
    def work() -> None:
        ran.set()

    def pause_twice() -> None:
        worker.pause()
        worker.pause()

    worker = worker_for(broker)
    thread = threading.Thread(target=pause_twice, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    work.send()
    assert not ran.wait(0.05)
    worker.resume()
    worker.resume()
    assert ran.wait(10)
    join(broker)


def test_a_worker_may_be_stopped_twice_and_without_a_start(broker: Broker, worker_for: WorkerFor) -> None:
    Worker(broker).stop()
    worker = worker_for(broker)
    worker.stop()
    worker.stop()
    assert not any(thread.is_alive() for thread in worker.workers)
    assert not any(thread.is_alive() for thread in worker.consumers.values())


def test_a_stopping_worker_finishes_what_runs_and_hands_back_the_rest(
    broker: Broker, worker_for: WorkerFor
) -> None:
    running, go_on = threading.Semaphore(0), threading.Event()
    done: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        running.release()
        go_on.wait(10)
        done.append(number)

    first = worker_for(broker, worker_threads=2)
    for number in range(10):
        work.send(number)
    for _ in range(2):
        assert running.acquire(timeout=10)
    stopping = threading.Thread(target=first.stop)
    stopping.start()
    eventually(lambda: assert_equal([thread.running for thread in first.workers], [False, False]))
    go_on.set()
    stopping.join(10)
    assert len(done) == 2
    assert dead_letter_count(broker) == 0

    worker_for(broker, worker_threads=1)
    join(broker)
    assert sorted(done) == list(range(10))


def test_many_threads_run_many_messages_once_each(broker: Broker, worker_for: WorkerFor) -> None:
    done: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        done.append(number)

    worker_for(broker, worker_threads=8)
    for number in range(500):
        work.send(number)
    join(broker)
    assert sorted(done) == list(range(500))
