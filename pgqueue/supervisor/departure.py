"""The end of a process that has done its work: Python waits in it for what the program has left, and we not for ever.

Before a process ends, Python joins its threads that are no daemons and the children of `multiprocessing`, and runs what
`atexit` was given. A pool at the top of a module, or a thread that polls, would keep it for ever: it holds no messages
then, and nobody is in its place.
"""

import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import util
from multiprocessing.process import BaseProcess

from ..logging import own_logger

__all__ = ["Departure", "what_is_left"]

#: Seconds that children may take to end before they are ended: nobody else would end those that are no daemons.
CHILDREN_S = 5.0

#: Seconds that daemons have from SIGTERM on at the least, even if executors have taken all of those.
DAEMONS_S = 3.0

#: Seconds between the polite and the other way to end a child that is no daemon.
CHILD_KILL_AFTER_S = 1.0

#: Seconds after which the kernel ends it, in case its main process, which does so earlier, is gone or was stopped.
ALARM_S = 15

logger = own_logger(__name__)


class Departure:
    """The end of this process, to be made before its program is loaded.

    Finalizers of one priority run youngest first: so the children are looked at when managers, whose finalizers are of
    the lowest priority that runs before `multiprocessing` joins whatever is left, have ended theirs.
    """

    def __init__(self) -> None:
        self._deadline: float | None = None
        util.Finalize(None, self._end_children, exitpriority=0)

    def limit(self) -> None:
        """See to it that this process ends before long, whatever its program has left behind.

        Belongs into the main thread, right before it ends.
        """
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
        signal.alarm(ALARM_S)
        self._deadline = time.monotonic() + CHILDREN_S
        _end_executors(CHILDREN_S)

    def _end_children(self) -> None:
        if self._deadline is not None:
            _end_children(self._deadline)


def what_is_left() -> str:
    """What Python waits for as this process ends; empty if nothing is known of."""
    threads = [
        f"thread {thread.name!r}"
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]
    ended = _known_to_finalizers()
    children = [
        f"process {child.name!r} (PID {child.pid})"
        for child in multiprocessing.active_children()
        if id(child) not in ended
    ]
    return ", ".join(threads + children)


def _known_to_finalizers() -> set[int]:
    """The identities of what finalizers are called with: among them managers' processes, which these end."""
    registry: dict[object, object] = getattr(util, "_finalizer_registry", None) or {}
    return {
        id(each) for finalizer in list(registry.values()) for each in getattr(finalizer, "_args", None) or ()
    }


def _end_executors(within_s: float) -> None:
    """Tell executors to end their processes, as Python does before it runs any finalizer, but not where it was forked.

    In a child of `multiprocessing` it does so when it has run them, which close the queues by which they are told.
    """
    tell = getattr(sys.modules.get("concurrent.futures.process"), "_python_exit", None)
    if tell is not None:
        with suppress(RuntimeError):  # there is no room for another thread
            thread = threading.Thread(target=tell, name="pgqueue-executors", daemon=True)
            thread.start()
            thread.join(within_s)


def _end_children(deadline: float) -> None:
    children = multiprocessing.active_children()
    daemons = [child for child in children if child.daemon]
    for child in daemons:
        child.terminate()
    daemons_deadline = max(deadline, time.monotonic() + DAEMONS_S)
    others = [child for child in children if not child.daemon]
    _join(others, deadline)
    if stubborn := [child for child in others if child.is_alive()]:
        logger.warning(
            "This process ends, and with it its children that have not ended in %.0f s: %s.",
            CHILDREN_S, ", ".join(f"{child.name!r} (PID {child.pid})" for child in stubborn),
        )  # fmt: skip
    for child in stubborn:
        child.terminate()
    _join(stubborn, time.monotonic() + CHILD_KILL_AFTER_S)
    _join(daemons, daemons_deadline)
    for child in children:
        child.kill()


def _join(children: Sequence[BaseProcess], deadline: float) -> None:
    for child in children:
        child.join(max(0.0, deadline - time.monotonic()))
