"""Ends processes that have done their work and don't end, because Python waits in them for what their program has left.

They hold no messages any more, and nobody is in their place as long as they live.
"""

import signal
import time

from ..logging import own_logger
from .child import Child

__all__ = ["LINGER_S", "end_lingering"]

#: Seconds that a process may take to end once it has said that it does.
LINGER_S = 10.0

logger = own_logger("pgqueue", "MainProcess")


def end_lingering(child: Child) -> None:
    """Kill a child that has said that it ends, and has not: what it was doing is done."""
    if child.ended_at is None or child.given_up or child.exit is not None:
        return
    if time.monotonic() - child.ended_at < LINGER_S:
        return
    child.given_up = True
    logger.error(
        "%s (PID %d) has done its work and does not end, for Python waits in it for %s. Killing it.",
        child.task.name, child.pid, child.left_behind or "an exit function (atexit), or code in C",
    )  # fmt: skip
    child.signal(signal.SIGKILL)
