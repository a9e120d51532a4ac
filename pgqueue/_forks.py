"""Forks: what a process must not use that was forked from one with threads, and where such a process ends.

A fork copies one thread in whatever it is amid: its transaction's socket, its place in the worker's loop. Of the other
threads it copies the locks that they hold, and not those who would release them. Here is what all modules need to keep
the copy from doing as if it were the original; each of them says itself what it gives up.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import MethodType
from typing import Any, NoReturn, cast
from weakref import ref

__all__ = ["depth", "in_child", "keep", "leave", "leave_if_forked", "renew", "serve_here"]

#: How many forks are between this process and the first one. Cheaper to compare than the process's id.
depth = 0

_renewals: dict[ref[Any], str] = {}
_kept: list[object] = []


class _Serving(threading.local):
    """The depth at which this thread became one of a worker's."""

    depth = -1


_serving = _Serving()


def renew(call: Callable[[], None]) -> None:
    """Call a method of an object in each process that is forked from here, for as long as the object lives.

    It makes the object what it is to be there, in the thread that has forked, the only one. It must take no lock that
    it has not made.
    """
    method = cast("MethodType", call)
    _renewals[ref(method.__self__, _forget)] = method.__name__


def _forget(renewed: ref[Any], renewals: dict[ref[Any], str] = _renewals) -> None:
    renewals.pop(renewed, None)


def in_child(call: Callable[[], object]) -> None:
    """Call a function in each process that is forked from here; on Windows none is."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def keep(thing: object) -> None:
    """Never free what belongs to the process that has forked: that would end a connection, or wait for a thread."""
    _kept.append(thing)


def serve_here() -> None:
    """Note that this thread is a worker's: a process that is forked in it by a hook ends where the hook does."""
    _serving.depth = depth


def leave_if_forked(before: int, error: BaseException | None = None) -> None:
    """End the process if it was forked in a thread of a worker since the depth was ``before``; see `leave`."""
    if before == _serving.depth != depth:
        leave(error)


def leave(error: BaseException | None = None) -> NoReturn:
    """End a forked process where the code of the program's ends that has forked it, before any of ours is left.

    With the exit code that Python would give it, and a traceback where Python would print one.

    Parameters:
      error: What that code has raised.
    """
    code = 1
    try:
        code = _exit_code(error)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
        return 1
    if error.code is None or isinstance(error.code, int):
        return int(error.code or 0) & 0xFF
    with suppress(OSError):
        sys.stderr.write(f"{error.code}\n")
    return 1


def _after_fork() -> None:
    global depth  # noqa: PLW0603  # which process this is
    depth += 1
    for renewed, name in list(_renewals.items()):
        thing = renewed()
        if thing is not None:
            try:
                getattr(thing, name)()
            except Exception:  # noqa: BLE001  # the others must be called
                traceback.print_exc()


in_child(_after_fork)
