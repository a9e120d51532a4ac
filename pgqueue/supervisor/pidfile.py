"""The pid file: says which process is the main one, and keeps a second program from starting."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

if sys.platform != "win32":  # where workers don't run, and only the import must succeed
    import fcntl

__all__ = ["PidFile", "PidFileError"]


#: Refuse links and don't wait for pipes; 0 where the system has no such flag.
_NO_LINK, _NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)

#: Bytes that are read: more than any process id has.
_LONGEST = 100

#: Seconds that a file may be empty because its maker has not yet written to it.
_JUST_MADE_S = 0.2

#: Seconds to wait for other programs that look at the file: each needs the time above, at most.
_HELD_S = 2.0


class PidFileError(Exception):
    """The pid file can't be ours; the message says why and what to do."""


class PidFile:
    """A file that holds this process's id from `claim` to `release`.

    A reload keeps process and file: a file with our own id is ours already.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self) -> Self:
        """Write our id, over a stale one if need be.

        Raises:
          PidFileError: Another process lives under that id, or the file is not a pid file, or can't be written.
        """
        try:
            while not (self._made() or self._taken_over()):
                pass
        except OSError as error:
            raise PidFileError(f"Can't write the pid file '{self.path}': {_reason(error)}.") from error
        return self

    def release(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self.path.unlink()

    def _made(self) -> bool:
        """Make the file; return False if there is one, or a link."""
        with suppress(FileExistsError):
            _write(self.path)
            return True
        return False

    def _taken_over(self) -> bool:
        """Put ours in the place of a stale file; return False if somebody has been quicker."""
        try:
            # Without O_NONBLOCK, a pipe in its place would have us wait.
            descriptor = os.open(self.path, os.O_RDONLY | _NO_LINK | _NO_WAIT)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unreadable(error) from error
        with os.fdopen(descriptor, "rb") as file:
            # Of several programs that find the same stale file, one is the first to hold it; the others then find its.
            _lock(descriptor)
            if not self._is_at_path(descriptor):
                return False
            if self._names_us(file):
                return True
            self._replace()
        return True

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.lstat())
        except FileNotFoundError:
            return False

    def _names_us(self, file: BinaryIO) -> bool:
        """Whether a file has our id already.

        Raises:
          PidFileError: It has that of a running process, or none.
        """
        try:
            pid = _pid(file)
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(error) from error
        if pid <= 0:
            raise PidFileError(
                f"The pid file '{self.path}' holds no process id. "
                "Remove it, if it is a left-over, or name another file."
            )
        if pid != os.getpid() and _lives(pid):
            raise PidFileError(
                f"The pid file '{self.path}' names the running process {pid}. Stop that program first, "
                "or name another file."
            )
        return pid == os.getpid()

    def _replace(self) -> None:
        fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        _write(fresh)
        try:
            fresh.replace(self.path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def _unreadable(self, error: Exception) -> PidFileError:
        if self.path.is_symlink():
            return PidFileError(
                f"The pid file '{self.path}' is a link, which is not followed. Remove it, or name another file."
            )
        return PidFileError(f"Can't read the pid file '{self.path}': {_reason(error)}.")


def _write(path: Path) -> None:
    """Write our id into a new file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o644)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o644)
            file.write(f"{os.getpid()}\n")
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _lock(descriptor: int) -> None:
    """Hold a file alone until it is closed, unless somebody who is none of us holds it, or it can't be held."""
    deadline = time.monotonic() + _HELD_S
    while sys.platform != "win32" and time.monotonic() < deadline:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return
        else:
            return


def _pid(file: BinaryIO) -> int:
    """Return the number in a file, 0 if there is none."""
    content = file.read(_LONGEST)
    deadline = time.monotonic() + _JUST_MADE_S
    while not content and time.monotonic() < deadline:
        time.sleep(0.01)
        content = file.read(_LONGEST)
    text = content.decode()
    try:
        return int(text)
    except ValueError:
        return 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
