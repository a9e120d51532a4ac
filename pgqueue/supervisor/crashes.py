"""Crashes: in which thread a worker process died, so that only what that thread was running is charged for it.

Python's fault handler tells of fatal signals (SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL), in C code, too; whoever calls
`os._exit` tells himself. Nobody tells of SIGKILL, nor of code in C that calls ``exit``.
"""

import faulthandler
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

__all__ = ["Crash", "crash_file", "note_crashes", "read_crash"]

#: The most characters of a stack that are told.
STACK_LENGTH = 4_000

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


def crash_file(board: Path) -> Path:
    """Where the process with this board leaves word."""
    return board.with_suffix(".crash")


def note_crashes(board: Path) -> None:
    """Have this process leave word if it crashes, beside its board.

    A program that turns the fault handler off, or to a file of its own, has its way; nothing is known then. Forks of
    this process tell nobody.
    """
    file = crash_file(board).open("wb", buffering=0)
    was_on, ours, leave = faulthandler.is_enabled(), os.getpid(), os._exit

    def exit_with_word(status: int) -> NoReturn:
        if os.getpid() == ours:
            faulthandler.dump_traceback(file)
        leave(status)

    def be_a_fork() -> None:
        if was_on and sys.stderr is not None:
            faulthandler.enable(sys.stderr)
        else:
            faulthandler.disable()

    faulthandler.enable(file)
    os._exit = exit_with_word
    os.register_at_fork(after_in_child=be_a_fork)


def read_crash(board: Path) -> Crash | None:
    """What the dead process with this board has left; None if it said nothing."""
    try:
        text = crash_file(board).read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
    found = list(_CURRENT.finditer(text))
    return Crash(int(found[-1][1], 16), found[-1][2][:STACK_LENGTH]) if found else None
