"""What the tests of the bundled server look at from outside, and the programs that use it."""

from pathlib import Path

from pgqueue.embedded.locks import FileLock
from tests.support.eventually import eventually
from tests.support.processes import Process, alive

__all__ = ["is_running", "keeper_of", "postmaster_of", "user", "wait_for_the_end"]

_USER = """
import sys, threading
from pgqueue import embedded

server = embedded.start(sys.argv[1])
print("using", server.url, flush=True)
threading.Event().wait()
"""


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
