"""Where the processes of a program share their numbers: a directory that nobody else can write to."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from pgqueue.errors import BadSetting

__all__ = ["directory", "made_directory", "variable"]


def directory() -> Path:
    """Return the directory, the same in all processes: the one that the environment names, or the user's own."""
    given = variable("prom_db") or os.getenv("PROMETHEUS_MULTIPROC_DIR")
    return Path(given) if given else _of_this_user()


def made_directory() -> Path:
    """Return the directory, made if need be.

    Raises:
      BadSetting: Unless the environment names one, its name is known to everybody; and somebody else has taken it.
    """
    path = directory()
    if path != _of_this_user():
        path.mkdir(parents=True, exist_ok=True)
        return path
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if os.name == "posix":
        _refuse_others(path)
    return path


def variable(name: str) -> str | None:
    """Return a variable of the environment, under our name or Dramatiq's."""
    return os.getenv(f"pgqueue_{name}") or os.getenv(f"dramatiq_{name}")


def _of_this_user() -> Path:
    user = f"-{os.geteuid()}" if os.name == "posix" else ""
    return Path(tempfile.gettempdir()) / f"pgqueue-prometheus{user}"


def _refuse_others(path: Path) -> None:
    # Who can write there could have us write through links, at names that are easily guessed.
    found = path.lstat()
    loose = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or loose:
        raise BadSetting(
            f"{path} is for metrics, and must be a directory of user {os.geteuid()} that nobody else may write. "
            "Remove it, after a look at who has made it, or name a directory of your own: pgqueue_prom_db=/directory"
        )
