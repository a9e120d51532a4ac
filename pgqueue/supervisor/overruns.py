"""Ends processes in which a message runs on far beyond its time limit, because it can't be interrupted from within.

A thread that waits in a C call hears of its time limit when the call returns; one that keeps the interpreter's lock
lets not even the thread run that looks at the limits. So the main process looks at the running boards.
"""

import signal
import time

from ..logging import own_logger
from .child import Child

__all__ = ["LAST_WORDS_S", "end_overdue"]

#: Seconds that the other messages of such a process get to come to their end.
LAST_WORDS_S = 10.0

logger = own_logger("pgqueue", "MainProcess")


def end_overdue(child: Child) -> None:
    """Ask a child to stop in which a message is overdue; kill it when nothing else runs in it, or it takes too long."""
    if child.board is None or child.exit is not None:
        return
    now = time.monotonic()
    overdue = child.board.overdue(now)
    if not overdue:
        return
    if child.condemned_at is None:
        child.condemned_at = now
        logger.error(
            "%s (PID %d) runs %s far beyond the time limit, in code that can't be interrupted. It takes no more "
            "messages and will be replaced.", child.task.name, child.pid,
            "a message" if len(overdue) == 1 else f"{len(overdue)} messages",
        )  # fmt: skip
        child.ask_to_stop()
    elif set(child.board.read().running) <= set(overdue) or now - child.condemned_at > LAST_WORDS_S:
        child.culprits = overdue
        child.signal(signal.SIGKILL)
