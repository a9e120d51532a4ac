"""How a benchmark ends before its time: by an exception, so that whatever it started is stopped on the way out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from types import FrameType

__all__ = ["end_group", "stopped_by_signals"]

#: What asks a program to end. The last two would end it at once, past every ``finally``.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Within this, Ctrl-C, SIGTERM and SIGHUP end the program by SystemExit with 128 and the signal's number.

    A second one is ignored: what was started is being stopped already. From the main thread alone.
    """
    before = {number: signal.signal(number, _leave) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def end_group(program: subprocess.Popen[bytes]) -> None:
    """End a program that was started in a session of its own, at once and with whatever it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
