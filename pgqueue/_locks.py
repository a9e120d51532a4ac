"""How to take a lock that is held for microseconds, and by every thread for every message.

A thread that is woken with such a lock has to wait for Python's own lock next, up to 5 ms, and holds ours all that
time. So the thread that runs meets it at its next step, goes to sleep and is woken by a hand-over in turn: from then on
each step of each thread costs a wake-up on another processor, which takes longer than all of a short message. Once it
has begun, that goes on by itself. `enter` never owns a lock while it waits for Python's: it tries, and sleeps between
two tries.
"""

from __future__ import annotations

import sys
from threading import Lock
from time import sleep

__all__ = ["Entered", "enter"]

#: Seconds between two tries. Whoever holds the lock does so for less, unless Python has taken its turn away.
PAUSE_S = 0.00005


def enter(lock: Lock) -> None:
    """Take the lock; whoever calls releases it, and does nothing in between that takes long."""
    while not lock.acquire(False):  # noqa: FBT003  # by name it takes a third longer
        sleep(PAUSE_S)


def _wait(lock: Lock) -> None:
    lock.acquire()


class Entered:
    """A lock that is entered by ``with``, for what is not counted in fractions of a microsecond."""

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        enter(self._lock)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


if not getattr(sys, "_is_gil_enabled", lambda: True)():
    # Threads that really run side by side: the system's way of waiting is the best.
    enter = _wait
