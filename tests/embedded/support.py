"""What the tests of the bundled server look at from outside, and the programs that use it."""

import os
import sys
import sysconfig
import textwrap
from dataclasses import dataclass
from pathlib import Path

from pgqueue.embedded.locks import FileLock
from tests.support.eventually import eventually
from tests.support.processes import ROOT, Process, alive

__all__ = ["OrdinaryUser", "is_running", "keeper_of", "postmaster_of", "user", "wait_for_the_end"]

_USER = """
import sys, threading
from pgqueue import embedded

server = embedded.start(sys.argv[1])
print("using", server.url, flush=True)
threading.Event().wait()
"""


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """Somebody without rights, with an interpreter that he can run."""

    uid: int
    python: str

    @classmethod
    def find(cls) -> "OrdinaryUser | None":
        """Return one if this process may act for him; root's own interpreter may be out of his reach."""
        version = f"python3.{sys.version_info.minor}"
        for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
            try:
                look = ["-c", "import pgqueue.embedded"]
                with Process(look, user=_NOBODY, python=python, env=_packages()) as program:
                    if program.wait() == 0:
                        return cls(_NOBODY, python)
            except OSError:
                continue
        return None

    def runs(self, source: str, *arguments: str) -> Process:
        """Start a program as this user."""
        command = ["-c", textwrap.dedent(source), *arguments]
        return Process(command, user=self.uid, python=self.python, env=_packages())


_NOBODY = 65534


def _packages() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])}


def user(directory: Path) -> Process:
    """Start a program that uses the server until it is killed."""
    return Process.script(_USER, str(directory))


def postmaster_of(directory: Path) -> int:
    """Return the process id of the running server."""
    return int((directory / "data" / "postmaster.pid").read_text().split("\n", 1)[0])


def keeper_of(directory: Path) -> int:
    """Return the process id of its keeper."""
    return int((directory / "locks" / "keeper").read_text())


def is_running(directory: Path) -> bool:
    """Whether a server or its keeper runs there."""
    locks = [directory / "locks" / name for name in ("server", "keeper")]
    return any(lock.exists() and FileLock.is_held(lock) for lock in locks)


def wait_for_the_end(directory: Path, *pids: int) -> None:
    """Wait until the server, its keeper and these processes have ended."""

    def look() -> None:
        assert not is_running(directory)
        assert not [pid for pid in pids if alive(pid)]

    eventually(look, within_s=15)
