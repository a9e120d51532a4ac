"""The end of a process that has done its work: Python waits in it for what the program has left, and we not for ever.

Before a process ends, Python joins its threads that are no daemons and the children of `multiprocessing`, and runs what
`atexit` was given. A pool at the top of a module, or a thread that polls, would keep it for ever: it holds no messages
then, and nobody is in its place.
"""

import multiprocessing
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize

from ..logging import own_logger

__all__ = ["limit_the_end", "what_is_left"]

#: Seconds that it waits for children that are no daemons before it ends them, too: nobody else would.
CHILDREN_S = 5.0

#: Seconds between the polite and the other way to end a child.
CHILD_KILL_AFTER_S = 1.0

#: Seconds after which the kernel ends it, in case its main process, which does so earlier, is gone or was stopped.
ALARM_S = 15

logger = own_logger(__name__)


def limit_the_end() -> None:
    """See to it that this process ends before long, whatever its program has left behind.

    Belongs into the main thread, right before it ends.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.alarm(ALARM_S)
    # After the finalizers of pools, before `multiprocessing` joins whatever is left, without a limit.
    Finalize(None, _end_children, exitpriority=0)


def what_is_left() -> str:
    """What Python waits for as this process ends; empty if nothing is known of."""
    threads = [
        f"thread {thread.name!r}"
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
    children = [f"process {child.name!r} (PID {child.pid})" for child in multiprocessing.active_children()]
    return ", ".join(threads + children)


def _end_children() -> None:
    children = multiprocessing.active_children()
    _join([child for child in children if not child.daemon], CHILDREN_S)
    late = [child for child in children if child.is_alive()]
    if stubborn := [child for child in late if not child.daemon]:
        logger.warning(
            "This process ends, and with it its children that have not ended in %.0f s: %s.",
            CHILDREN_S, ", ".join(f"{child.name!r} (PID {child.pid})" for child in stubborn),
        )  # fmt: skip
    for child in late:
        child.terminate()
    _join(late, CHILD_KILL_AFTER_S)
    for child in late:
        child.kill()


def _join(children: Sequence[BaseProcess], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))
