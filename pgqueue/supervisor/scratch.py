"""The main process's private directory, for the boards of its workers."""

import os
import shutil
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from ..logging import own_logger

__all__ = ["Scratch"]

logger = own_logger("pgqueue", "MainProcess")


class Scratch:
    """A directory that nobody else can write to, made anew where somebody has taken it away; gone at the end."""

    def __init__(self) -> None:
        self._path, self._identity = _made()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours():
            shutil.rmtree(self._path, ignore_errors=True)

    def directory(self) -> Path:
        """The directory.

        Raises:
          OSError: It is gone, and there is no room for another.
        """
        if not self._is_ours():
            gone = self._path
            self._path, self._identity = _made()
            logger.warning(
                "Somebody has removed '%s', where worker processes note what they run; '%s' takes its place.",
                gone,
                self._path,
            )
        return self._path

    def _is_ours(self) -> bool:
        # With the name known, others might make a directory or a link of that name, and have us write where it leads.
        try:
            found = self._path.lstat()
        except OSError:
            return False
        is_private = (
            stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        )
        return is_private and _identity(found) == self._identity


def _made() -> tuple[Path, tuple[int, int]]:
    path = Path(tempfile.mkdtemp(prefix="pgqueue-"))
    return path, _identity(path.lstat())


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
