"""Locks on files: who uses a bundled server, who starts it, who keeps it, and whether it runs.

The kernel drops a lock together with its holder, kill -9 included; so a lock that is held is the
only sign of life that the bundled server relies on, and there is no pid to go stale.
"""

import os
import sys
import time
from pathlib import Path

from .files import open_file

if sys.platform != "win32":  # where `require_posix` keeps everybody away from here
    import fcntl

__all__ = ["FileLock"]

#: Seconds between two tries for a lock that another process holds: unnoticed by people, cheap for the machine.
_RETRY_S = 0.01


class FileLock:
    """A lock on a file in ``locks``, held until it is closed or its process, with all forks of it, has ended.

    Parameters:
      exclusive: One holder alone, rather than any number of shared ones.
    """

    def __init__(self, path: Path, *, exclusive: bool) -> None:
        self._path = path
        self._mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        self._descriptor: int | None = None

    def acquire(self, *, timeout_s: float) -> bool:
        """Take the lock; return whether that was possible in time."""
        deadline = time.monotonic() + timeout_s
        while not self._try():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S)
        return True

    @property
    def is_held_here(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    @property
    def descriptor(self) -> int:
        """What a child must inherit to hold the lock together with this process. Only while it is held."""
        if self._descriptor is None:
            raise ValueError(f"The lock {self._path} is not held.")
        return self._descriptor

    def close(self) -> None:
        """Let go. Only this process's hold ends: a fork that inherited the lock goes on holding it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @classmethod
    def is_held(cls, path: Path) -> bool:
        """Whether any process holds the lock exclusively."""
        probe = cls(path, exclusive=False)
        free = probe.acquire(timeout_s=0)
        probe.close()
        return not free

    def _try(self) -> bool:
        home = self._path.parents[1]
        descriptor = open_file(home, str(self._path.relative_to(home)), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, self._mode | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not self._is_current(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def _is_current(self, descriptor: int) -> bool:
        """Whether the locked file is still the one at the path: its directory may have been removed meanwhile."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.lstat())
        except FileNotFoundError:
            return False
