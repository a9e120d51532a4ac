"""The demo's worker processes: a ``pgqueue worker`` of its own, two processes under their supervisor."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

from ..errors import PgQueueError
from .program import LIFELINE

__all__ = ["Workers"]

#: Seconds that a stop may take: first for messages that are being run, then after the second signal.
STOP_S, END_S = 10.0, 3.0

#: Lines of the workers' log that are kept, to tell what went wrong.
KEPT_LINES = 200

_READY = re.compile(r"\[PID (\d+)\].*\[pgqueue\.WorkerProcess\(\d+\)\] \[INFO\] Worker process is ready")
_CRITICAL = re.compile(r"\[(?:CRITICAL|ERROR)\] (.+)")


class Workers:
    """A running ``pgqueue worker``, in a session of its own: a terminal's Ctrl-C is for the demo alone.

    Parameters:
      scratch: A directory for the program's temporary files.
    """

    def __init__(self, url: str, *, schema: str, processes: int, threads: int, scratch: Path) -> None:
        self._pids: list[int] = []
        self._killed: set[int] = set()
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        lifeline, self._lifeline = os.pipe()
        try:
            self._program = subprocess.Popen(
                _command(processes=processes, threads=threads),
                env={
                    **os.environ,
                    "PGQUEUE_URL": url,
                    "PGQUEUE_SCHEMA": schema,
                    "TMPDIR": str(scratch),
                    LIFELINE: str(lifeline),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[lifeline],
                start_new_session=True,
            )
        finally:
            os.close(lifeline)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    @property
    def pids(self) -> list[int]:
        """The worker processes that are up, in the order in which they came up."""
        return [pid for pid in self._pids if pid not in self._killed]

    @property
    def log(self) -> list[str]:
        """The last lines of their log."""
        return list(self._lines)

    def check(self) -> None:
        """See whether the workers go on.

        Raises:
          PgQueueError: They have ended; it says why.
        """
        if self._program.poll() is None:
            return
        self._reader.join(1.0)
        reasons = [found[1] for line in self._lines if (found := _CRITICAL.search(line))]
        reason = reasons[-1] if reasons else "\n".join(self.log[-3:]) or "they said nothing"
        raise PgQueueError(f"The demo's workers have ended with code {self._program.returncode}: {reason}")

    def kill(self, pid: int) -> None:
        """Kill one of the processes; the supervisor will replace it."""
        self._killed.add(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """End all of them, politely first."""
        for patience_s in (STOP_S, END_S):
            self._program.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._program.wait(patience_s)
                break
        else:
            # Before the main process is reaped, so that the group can't be somebody else's.
            os.killpg(self._program.pid, signal.SIGKILL)
            self._program.wait()
        os.close(self._lifeline)
        self._reader.join(END_S)

    def _read_log(self) -> None:
        assert self._program.stderr is not None  # noqa: S101  # for the type checker
        with self._program.stderr as log:
            for raw in log:
                line = raw.decode(errors="replace").rstrip()
                self._lines.append(line)
                if found := _READY.search(line):
                    self._pids.append(int(found[1]))


def _command(*, processes: int, threads: int) -> list[str]:
    # Files of the current directory must not hide the library's, unless pgqueue itself is found there.
    in_checkout = Path(__file__).parents[2] == Path.cwd()
    python = [sys.executable] if in_checkout else [sys.executable, "-P"]
    words = ["worker", "pgqueue.demo.program:set_up", "-p", str(processes), "-t", str(threads), "--path"]
    return [*python, "-m", "pgqueue", *words]
