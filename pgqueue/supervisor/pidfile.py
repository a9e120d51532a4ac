"""The pid file: says which process is the main one, and keeps a second program from starting."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Self

__all__ = ["PidFile", "PidFileError"]


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
            self._check(self.path.read_text())
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError) as error:
            raise PidFileError(f"Can't read the pid file '{self.path}': {_reason(error)}.") from error
        self._write()
        return self

    def release(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self.path.unlink()

    def _check(self, content: str) -> None:
        try:
            pid = int(content)
        except ValueError:
            pid = 0
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

    def _write(self) -> None:
        try:
            self.path.write_text(f"{os.getpid()}\n")
            self.path.chmod(0o644)
        except OSError as error:
            raise PidFileError(f"Can't write the pid file '{self.path}': {_reason(error)}.") from error


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
