"""Becoming the worker program from within a framework's command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

__all__ = ["become_worker", "show_help"]


def become_worker(broker: str, words: Sequence[str], variables: Mapping[str, str] | None = None) -> NoReturn:
    """Run ``pgqueue worker`` in the place of this process, so that signals, reloading and ids are as always.

    Parameters:
      broker: What workers load: ``module:function``.
      words: Further arguments.
      variables: For the environment.
    """
    command = [*_command(broker), *words]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], command, {**_environment(), **(variables or {})})  # noqa: S606  # no shell is wanted


def show_help(broker: str) -> None:
    """Print the arguments of ``pgqueue worker``."""
    subprocess.run([*_command(broker), "--help"], check=False, env=_environment())


def _command(broker: str) -> list[str]:
    return [sys.executable, "-m", "pgqueue", "worker", broker]


def _environment() -> dict[str, str]:
    """Return this process's, with the program's directory among those that Python imports from."""
    here = [str(Path(directory).resolve()) for directory in sys.path[:1]]
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*here, *([given] if given else [])])}
