"""Locks that are held for microseconds, by every thread for every message."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, cast

import pytest

from pgqueue import _locks
from pgqueue._locks import Entered, enter
from pgqueue.broker import MessageProxy
from pgqueue.message import Message
from pgqueue.worker.consumer import ConsumerThread
from pgqueue.worker.work_queue import WorkQueue
from tests.support.eventually import eventually

with_python_s_lock = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="threads without Python's lock wait as the system does",
)


class Watched:
    """A lock that knows how it was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waited: list[bool] = []
        self.tries = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:  # as Lock's
        self.waited += [True] * blocking
        self.tries += 1
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_whoever_enters_has_the_lock_once_it_is_released() -> None:
    lock = threading.Lock()
    lock.acquire()
    entered = threading.Event()

    def enter_and_tell() -> None:
        enter(lock)
        entered.set()

    thread = threading.Thread(target=enter_and_tell)
    thread.start()
    assert not entered.wait(0.05)
    lock.release()
    assert entered.wait(30)
    thread.join()
    assert lock.locked()


def test_it_is_entered_by_one_at_a_time() -> None:
    lock, counted, number = Entered(), 0, 2_000

    def count() -> None:
        nonlocal counted
        for _ in range(number):
            with lock:
                before = counted
                time.sleep(0)
                counted = before + 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counted == 4 * number


@with_python_s_lock
def test_nobody_owns_the_lock_while_he_waits_for_pythons() -> None:
    lock = Watched()
    lock.acquire(blocking=False)
    thread = threading.Thread(target=enter, args=(lock,))
    thread.start()
    eventually(lambda: lock.tries > 5)
    lock.release()
    thread.join(30)
    assert lock.waited == []


@with_python_s_lock
def test_the_way_of_a_message_through_a_worker_waits_in_no_lock() -> None:
    queue = WorkQueue()
    lock = Watched()
    queue.mutex = cast("Any", lock)
    message = MessageProxy(Message("default", "nothing", (), {}, {}))
    queue.add(message, priority=0, fetched_by=cast("ConsumerThread", None))
    assert queue.get()[2] is message
    queue.all_tasks_done = threading.Condition(cast("Any", lock))
    queue.task_done()
    assert (lock.waited, queue.unfinished_tasks) == ([], 0)


def test_without_pythons_lock_the_system_waits() -> None:
    lock = Watched()
    _locks._wait(cast("Any", lock))
    assert lock.waited == [True]
