"""What takes long to make and nobody changes, made once for all processes of a test run."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["made_once"]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a directory in which ``make`` has put what belongs there; the first who asks makes it, others wait.

    If that fails, the next who asks tries again, in a directory of its own.
    """
    base = factory.getbasetemp()
    # Each process of a run in parallel has a directory of its own in that of the run.
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    made = base / f"{name}-made"
    with (base / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            directory = factory.mktemp(name).resolve()
            make(directory)
            made.symlink_to(directory)
    return made.resolve()
