"""The standard library's queues, also where gevent has put its own in their place.

Ours hold on to what is inside of them, a mutex and a deque, which gevent's don't have. The standard library's are made
of locks, and gevent replaces these, too: so they wait as greenlets should.
"""

from __future__ import annotations

import queue
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import PriorityQueue, Queue

__all__ = ["PriorityQueue", "Queue"]


def _original(name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    return getattr(queue, name) if monkey is None else monkey.get_original("queue", name)


if not TYPE_CHECKING:
    PriorityQueue, Queue = map(_original, __all__)
