"""Crashes: in which thread a worker process died, so that only what that thread was running is charged for it.

Python's fault handler tells of fatal signals (SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL), in C code, too; whoever calls
`os._exit` tells himself. Nobody tells of SIGKILL, of code in C that calls ``exit``, nor of a thread whose stack has
overflowed.
"""

import faulthandler
import os
import re
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

__all__ = ["Bystanders", "Crash", "LastWord", "crash_file", "note_crashes"]

#: The most characters of a stack that are told.
STACK_LENGTH = 4_000

#: A word older than so many seconds is of something else: of a fork of C's that has crashed, for example.
FRESH_S = 5.0

#: How often a message may run beside crashes that another's thread is blamed for. A fault may show in another thread
#: than the one that has caused it; so may each of them, again and again. As often as it takes to bury the other.
SPARED = 3

#: The most messages of which that is remembered.
REMEMBERED = 10_000

_TELLING = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL}

_EXIT = b"os._exit\n"

_CURRENT = re.compile(r"^Current thread 0x([0-9a-f]+).*\n((?:  .*\n)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Crash:
    """How a process ended.

    Attributes:
      thread: The identifier of the thread that ended it.
      stack: Where in Python it was, the most recent call first.
    """

    thread: int
    stack: str


class Bystanders:
    """The messages that ran beside crashes of which another was guilty, and how often.

    By their keys: each claim gives a message another id.
    """

    def __init__(self) -> None:
        self._spared: OrderedDict[int, int] = OrderedDict()

    def guilty(self, culprit: int, running: Mapping[int, int]) -> list[int]:
        """Of what was running in a crash, that for which it is charged: the culprit, and whom it meets too often.

        Parameters:
          running: The keys of messages by their ids.
        """
        guilty = [culprit]
        for message, key in running.items():
            if message == culprit:
                continue
            if self._spared.get(key, 0) >= SPARED:
                guilty.append(message)
            else:
                self._spared[key] = self._spared.pop(key, 0) + 1
        while len(self._spared) > REMEMBERED:
            self._spared.popitem(last=False)
        return guilty


def crash_file(board: Path) -> Path:
    """Where the process with this board leaves word."""
    return board.with_suffix(".crash")


def note_crashes(board: Path) -> None:
    """Have this process leave word if it crashes, beside its board.

    A program that turns the fault handler off, or to a file of its own, has its way; nothing is known then.
    """
    file = crash_file(board).open("wb", buffering=0)
    ours, leave = os.getpid(), os._exit

    def exit_with_word(status: int) -> NoReturn:
        try:
            if os.getpid() == ours:
                file.write(_EXIT)
                faulthandler.dump_traceback(file)
        finally:
            leave(status)  # on a full disk, too: whoever calls this must not go on

    if faulthandler.is_enabled() and sys.stderr is not None:
        # By the environment. Its forks tell people, as they did; ours is the only word that is for the main process.
        os.register_at_fork(after_in_child=lambda: faulthandler.enable(sys.stderr))
    faulthandler.enable(file)
    os._exit = exit_with_word


class LastWord:
    """What the process with this board may leave; the main process has it open from the start, whoever removes it."""

    def __init__(self, board: Path) -> None:
        self._path = crash_file(board)
        self._file = self._path.open("x+b", buffering=0)

    def read(self, *, code: int) -> Crash | None:
        """What the process has left; None if it said nothing.

        Parameters:
          code: Its exit code, negative for a signal's number: of other signals nobody tells.
        """
        text = self._text(code).decode("utf-8", "replace")
        if code >= 0:
            text = text.partition(_EXIT.decode())[2]
        found = list(_CURRENT.finditer(text))
        return Crash(int(found[-1][1], 16), found[-1][2][:STACK_LENGTH]) if found else None

    def close(self) -> None:
        """Remove it."""
        self._file.close()
        with suppress(OSError):
            self._path.unlink()

    def _text(self, code: int) -> bytes:
        if code < 0 and (code not in _TELLING or not self._is_fresh()):
            return b""
        self._file.seek(0)
        return self._file.read()

    def _is_fresh(self) -> bool:
        written = os.fstat(self._file.fileno()).st_mtime
        os.utime(self._file.fileno())  # tells what time it is for files
        return os.fstat(self._file.fileno()).st_mtime - written < FRESH_S
