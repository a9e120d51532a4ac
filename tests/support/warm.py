"""An interpreter that has imported what the programs of tests import, and forks instead of starting another.

To start Python and import a broker costs a fifth of a second of processor time and more, and a run of the tests starts
hundreds of programs. A fork of an interpreter that is warm costs a tenth of that. What differs from a start afresh is
little: ``/proc`` shows the command line and the environment of the warm one, and no import can go wrong.

`Process` in `tests.support.processes` uses this where it is asked for a warm start.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

__all__ = ["Forked", "Nursery", "can_fork", "end", "fork"]

ROOT = Path(__file__).parents[2]

#: What most programs need; nothing that looks at the environment when it is imported.
MODULES = (
    "pgqueue.cli",
    "pgqueue.brokers.postgres",
    "pgqueue.brokers.stub",
    "pgqueue.cli.worker",
    "pgqueue.rate_limits.backends.postgres",
    "pgqueue.results.backends.postgres",
    "pgqueue.schema",
    "pgqueue.supervisor.supervisor",
    "pgqueue.supervisor.worker_process",
    "pgqueue.worker",
    "rich.console",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
)

#: Python's own variables that each fork is told.
TOLD = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}

#: Bytes of an order, and more than any.
_LONGEST_ORDER = 1 << 20


# ── The side of the tests ─────────────────────────────────────────────────────────────────────────


class Forked:
    """A program that was forked, with those methods of `subprocess.Popen` that tests use."""

    def __init__(self, news: IO[bytes], arguments: Sequence[str]) -> None:
        self._news = news
        self._arguments = arguments
        self._lock = threading.Lock()
        self.returncode: int | None = None
        self.pid = int(self._read())

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None if the program still runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since, or the news of that is under way
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the program."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._news], [], [], timeout)[0]:
                self.returncode = int(self._read())
                self._news.close()
            return self.returncode

    def _read(self) -> bytes:
        line = self._news.readline()
        if not line:
            raise EOFError("The warm interpreter has ended, and nobody knows any longer how its forks end.")
        return line


class Nursery:
    """A warm interpreter, and how it is asked for forks."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.support.warm", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
                env=_own_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id of the warm interpreter."""
        return self._popen.pid

    def fork(
        self, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: IO[bytes]
    ) -> Forked:
        """Start ``python arguments…``, in a session of its own."""
        order = json.dumps({"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}).encode()
        ours, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._orders, [order], [output.fileno(), theirs])
        finally:
            os.close(theirs)
        return Forked(os.fdopen(ours, "rb", buffering=0), arguments)

    def end(self) -> None:
        """Let the warm interpreter end; what it has forked lives on."""
        self._orders.close()
        self._popen.wait()


def _own_environment() -> dict[str, str]:
    """Without what each program is told anew."""
    kept = {name: value for name, value in os.environ.items() if name not in TOLD}
    return {**kept, "PYTHONUNBUFFERED": "1"}


#: The one of this process; a list, for it is made when it is first needed.
_nurseries: list[Nursery] = []
_making = threading.Lock()


def can_fork(arguments: Sequence[str], changes: Mapping[str, object]) -> bool:
    """Whether a program can be forked: no option nor variable is meant for the start of Python itself.

    A path of the program's own may hold another pgqueue, or a ``sitecustomize``.
    """
    plain = arguments[0] in {"-c", "-m"} or not arguments[0].startswith("-")
    told = {name for name in changes if name.startswith("PYTHON")} <= {"PYTHONDONTWRITEBYTECODE"}
    return sys.platform == "linux" and plain and told


def fork(arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: IO[bytes]) -> Forked:
    """Start ``python arguments…`` from this process's warm interpreter."""
    with _making:
        if not _nurseries:
            _nurseries.append(Nursery())
    return _nurseries[0].fork(arguments, env=env, cwd=cwd, output=output)


def end() -> None:
    """End this process's warm interpreter, if there is one."""
    while _nurseries:
        _nurseries.pop().end()


# ── The side of the warm interpreter ──────────────────────────────────────────────────────────────


def main() -> None:
    """Serve until nobody can order any more; or, in a fork, be the program that was ordered."""
    for name in MODULES:
        importlib.import_module(name)
    assert "prometheus_client" not in sys.modules, "it looks at the environment when it is imported"
    gc.collect()
    gc.freeze()
    order = _serve(socket.socket(fileno=int(sys.argv[1])))
    if order is not None:
        _become(**order)


def _serve(orders: socket.socket) -> dict[str, Any] | None:
    """Fork as ordered, and tell how the forks end; return None at the end, the order in a fork."""
    running: dict[int, tuple[int, int]] = {}
    while True:
        for ready in select.select([orders.fileno(), *running], [], [])[0]:
            if ready in running:
                _bury(ready, *running.pop(ready))
                continue
            text, (*descriptors,), _, _ = socket.recv_fds(orders, _LONGEST_ORDER, 2)
            if not text:
                return None
            output, news = descriptors
            pid = os.fork()
            if not pid:
                _detach(output, news)
                return dict(json.loads(text))
            os.close(output)
            running[os.pidfd_open(pid)] = (pid, news)


def _bury(descriptor: int, pid: int, news: int) -> None:
    status = os.waitpid(pid, 0)[1]
    try:
        os.write(news, b"%d\n" % os.waitstatus_to_exitcode(status))
    except BrokenPipeError:
        print(f"Nobody asks any more how {pid} has ended.", file=sys.stderr)
    os.close(news)
    os.close(descriptor)


def _detach(output: int, news: int) -> None:
    """In a fork: leave the session of the warm interpreter, write to where the program shall, and keep nothing else."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.write(news, b"%d\n" % os.getpid())
    os.closerange(3, 4096)


def _become(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """Run what ``python arguments…`` would."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    time.tzset()
    tempfile.tempdir = None
    sys.orig_argv[1:] = arguments
    sys.dont_write_bytecode = bool(env.get("PYTHONDONTWRITEBYTECODE"))
    paths = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = dict.fromkeys([*paths, *sys.path[1:]])
    program = sys.modules["__main__"] = types.ModuleType("__main__")
    how, *words = arguments
    if how == "-m":
        sys.path.insert(0, cwd)
        sys.argv[:] = words
        runpy._run_module_as_main(words[0])  # type: ignore[attr-defined]
    elif how == "-c":
        sys.path.insert(0, "")
        sys.argv[:] = [how, *words[1:]]
        exec(compile(words[0], "<string>", "exec"), program.__dict__)  # noqa: S102 - as Python does
    else:
        sys.path.insert(0, str(Path(how).parent.resolve()))
        sys.argv[:] = arguments
        program.__file__ = str(Path(how).absolute())
        exec(compile(Path(how).read_bytes(), how, "exec"), program.__dict__)  # noqa: S102 - likewise


if __name__ == "__main__":
    main()
