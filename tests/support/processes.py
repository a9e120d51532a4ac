"""Python programs run beside a test, and never left behind by it.

Each runs in a session of its own, so that a kill of the group reaches whatever it started;
output goes to a file, so that a talkative program never blocks on a full pipe.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from .eventually import eventually
from .warm import Forked, can_fork, fork

__all__ = ["ROOT", "Process", "alive", "ended", "processes"]

#: The checkout; programs run by tests import pgqueue and tests from here.
ROOT = Path(__file__).parents[2]


def alive(pid: int) -> bool:
    """Whether a process exists and still runs (a zombie doesn't)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    return not Path("/proc/self").exists()


class Process:
    """One started program; as a context manager it ends, with its whole group, at exit.

    Parameters:
      arguments: The command line after the interpreter: ``["-c", "…"]``, ``["-m", "pgqueue", …]``.
      env: Variables beyond this process's own; None removes one. PYTHONPATH begins with the checkout unless given.
      user: Run as this uid (and the group of the same number) instead of ours.
      warm: Fork it from an interpreter that has imported pgqueue already, where that can be: see `tests.support.warm`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        user: int | None = None,
        python: str = sys.executable,
        warm: bool = False,
    ) -> None:
        # A program that is killed can't remove its temporary files.
        self._scratch = tempfile.TemporaryDirectory(prefix="pgq-", ignore_cleanup_errors=True)
        if user is not None:
            os.chown(self._scratch.name, user, user)
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            self._popen = self._start(
                arguments,
                env=_environment({"TMPDIR": self._scratch.name, **(env or {})}),
                cwd=cwd or ROOT,
                user=user,
                python=python,
                warm=warm and can_fork(arguments, env or {}),
            )
        except OSError:
            self._output.close()
            self._scratch.cleanup()
            raise

    def _start(
        self,
        arguments: Sequence[str],
        *,
        env: dict[str, str],
        cwd: Path,
        user: int | None,
        python: str,
        warm: bool,
    ) -> subprocess.Popen[bytes] | Forked:
        if warm:
            return fork(arguments, env=env, cwd=cwd, output=self._output)
        return subprocess.Popen(
            [python, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )

    @classmethod
    def script(
        cls,
        source: str,
        *arguments: str,
        env: Mapping[str, str | None] | None = None,
        warm: bool = False,
    ) -> Self:
        """Run Python source; it may be indented to fit the test that holds it."""
        return cls(["-c", textwrap.dedent(source), *arguments], env=env, warm=warm)

    @property
    def pid(self) -> int:
        """The process id, also after the end."""
        return self._popen.pid

    @property
    def output(self) -> str:
        """What the program has written so far, standard output and error together."""
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size, 0).decode(errors="replace")

    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self._popen.poll() is None

    def wait(self, *, timeout_s: float = 30.0) -> int:
        """Wait for the end; return the exit code, negative for the signal that ended it."""
        return self._popen.wait(timeout_s)

    def wait_for(self, text: str, *, within_s: float = 30.0) -> str:
        """Wait until the output holds ``text``; return the output. Fails early if the program ends first."""

        def look() -> str:
            if not self.running() and text not in self.output:
                message = (
                    f"the program ended with {self._popen.returncode} and without {text!r}:\n{self.output}"
                )
                raise EOFError(message)
            assert text in self.output, f"no {text!r} in the program's output:\n{self.output}"
            return self.output

        return eventually(look, within_s=within_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End the program alone at once (SIGKILL), and wait for it; what it started lives on."""
        self._popen.kill()
        self._popen.wait()

    def close(self) -> None:
        """End the program and all of its group, if anything still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._output.close()
        self._scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def processes() -> Iterator[list[Process]]:
    """Hand out a list; whatever is put into it is ended afterwards."""
    started: list[Process] = []
    try:
        yield started
    finally:
        for process in started:
            process.close()


@contextlib.contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator["subprocess.Popen[Any]"]:
    """Kill the process at the end, if it still runs: with nobody to read what it writes, it would never end."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    merged = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **changes}
    return {name: value for name, value in merged.items() if value is not None}
