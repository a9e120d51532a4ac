"""Signals as events: handlers only write to a pipe, loops read it. POSIX only."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Self

__all__ = [
    "SUPERVISOR_SIGNALS",
    "SignalPipe",
    "StopRequest",
    "blocked",
    "ignore_requests",
    "on_term",
    "unblock",
]

#: Signals that ask a program to do something.
REQUESTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: What the main process listens to.
SUPERVISOR_SIGNALS = (*REQUESTS, signal.SIGCHLD)

#: Seconds within which a child takes another TERM for an echo of the first, as it may come by a busy main process.
ECHO_S = 1.0

#: Seconds after which a child looks whether its main process still lives.
TICK_S = 1.0


class SignalPipe:
    """Collects signals for a loop that selects on `fileno`.

    Unlike a ``threading.Event``, a pipe may be written to from a handler that interrupted its reader.
    Only the main thread may make one; the process has one at a time.
    """

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, _note)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when a signal came."""
        return self._reader

    def descriptors(self) -> tuple[int, int]:
        """Return both ends, which a forked child must close."""
        return self._reader, self._writer

    def read(self) -> list[signal.Signals]:
        """Return the signals that came since the last call, in order."""
        with suppress(BlockingIOError):
            return [signal.Signals(number) for number in os.read(self._reader, 4096)]
        return []

    def wake(self) -> None:
        """Make the descriptor readable without a signal; from any thread."""
        with suppress(BlockingIOError, OSError):
            os.write(self._writer, bytes([signal.SIGCHLD]))

    def close(self) -> None:
        """Stop collecting; the handlers stay, and do nothing."""
        signal.set_wakeup_fd(-1)
        os.close(self._reader)
        os.close(self._writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ignore_requests() -> None:
    """Let no signal that asks for an end change how this process ends, for it is about to.

    Python puts the signals' defaults back before it is through: an echo that comes then would kill the process, and
    its exit code would say so.
    """
    for number in REQUESTS:
        signal.signal(number, signal.SIG_IGN)


def on_term(stop: Callable[[], None]) -> None:
    """Let a child's first TERM call ``stop``; a later one ends it with exit code 1, and so does QUIT at once.

    Launchers signal whole groups, and the main process passes on what it gets: an echo is no second request. A fork,
    such as a process of `multiprocessing`, is ended by TERM as ever: it has inherited the handler, not the duty.
    """
    asked_at: list[float] = []
    ours = os.getpid()

    def handle(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != ours:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not asked_at:
            asked_at.append(time.monotonic())
            stop()
        elif time.monotonic() - asked_at[0] > ECHO_S:
            os._exit(1)

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGQUIT, lambda *_: os._exit(1))


class StopRequest:
    """TERM in a child process asks it to stop; see `on_term`.

    A child whose main process is gone is asked to stop as well. INT and HUP, which a terminal sends to the
    whole group, are the main process's business.
    """

    def __init__(self) -> None:
        self.requested = False
        self.ordered = False
        self._parent = os.getppid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        self._pipe = SignalPipe(())
        on_term(self._request)

    def wait(self, until: Callable[[], bool] = lambda: False, *, tick_s: float = TICK_S) -> None:
        """Return once the process is to stop or ``until`` is true, which is asked each tick and after `wake`."""
        while not (self.requested or until()):
            # The tick also finds a request whose byte went elsewhere: user code may take the wake-up pipe.
            select.select([self._pipe], [], [], tick_s)
            self._pipe.read()
            self.requested = self.requested or self.orphaned()

    def order(self) -> None:
        """Ask the process to stop because an operator wants it to; from any thread."""
        self.ordered = self.requested = True
        self.wake()

    def wake(self) -> None:
        """Have `wait` ask its question at once; from any thread."""
        self._pipe.wake()

    def orphaned(self) -> bool:
        """Whether the main process has died."""
        return os.getppid() != self._parent

    def _request(self) -> None:
        self.requested = True


@contextmanager
def blocked() -> Iterator[None]:
    """Hold requests back; processes started meanwhile begin life with them held back, too.

    Not SIGCHLD: Python's fork server, started meanwhile, would never hear of its children's ends.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock(signals: Iterable[signal.Signals] = SUPERVISOR_SIGNALS) -> None:
    """Let held-back signals through, whoever held them back (they survive fork, spawn and exec)."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def _note(number: int, frame: FrameType | None) -> None:
    """Do nothing: the interpreter has already written the number to the wake-up pipe."""
