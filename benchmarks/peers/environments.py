"""Virtual environments, one for each queue, made with the standard venv and pip and kept in a cache."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .peer import Peer, Unavailable

__all__ = ["Environment", "find_python", "make", "satisfies"]

#: Interpreters that are looked for, beside the one that runs this.
NAMES = ("python3.13", "python3.12", "python3.14", "python3.11", "python3")

#: Seconds for the installation of a queue.
PATIENCE_S = 300

_ASK = "import sys, venv; print(*sys.version_info[:2])"


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that has what a queue needs.

    Parameters:
      versions: The distributions in it.
    """

    python: Path
    python_version: str
    versions: dict[str, str]

    @property
    def bin(self) -> Path:
        """Where its commands are."""
        return self.python.parent


def satisfies(version: tuple[int, int], requirement: str) -> bool:
    """Whether a version of Python is allowed by ``>=X.Y`` and ``<X.Y``, with a comma between them."""
    for part in requirement.split(","):
        found = re.fullmatch(r"\s*(>=|<)\s*(\d+)\.(\d+)\s*", part)
        if found is None:
            raise ValueError(f"{requirement!r} can't be read: expected >=X.Y, <X.Y or both")
        bound = (int(found[2]), int(found[3]))
        if not (version >= bound if found[1] == ">=" else version < bound):
            return False
    return True


def find_python(requirement: str, named: Sequence[str] = ()) -> str:
    """An interpreter of an allowed version: the one that runs this if it may, else one that is named or on the path.

    Raises:
      Unavailable: There is none.
    """
    for candidate in (sys.executable, *named, *NAMES):
        version = _version(candidate)
        if version is not None and satisfies(version, requirement):
            return candidate
    raise Unavailable(
        f"it needs Python {requirement}, which was not found: name one with --python /path/to/python"
    )


def _version(python: str) -> tuple[int, int] | None:
    path = shutil.which(python)
    if path is None:
        return None
    answer = subprocess.run([path, "-c", _ASK], capture_output=True, text=True, check=False)
    if answer.returncode:
        return None
    major, minor = answer.stdout.split()
    return int(major), int(minor)


def make(peer: Peer, cache: Path, *, pythons: Sequence[str] = ()) -> Environment:
    """Make the queue's environment, or find it in the cache.

    Parameters:
      pythons: Interpreters to look at besides those on the path.

    Raises:
      Unavailable: There is no interpreter for it, or its packages can't be installed.
    """
    if not peer.dependencies:
        return _describe(Path(sys.executable))
    python = find_python(peer.requires_python, pythons)
    key = hashlib.sha256(repr((peer.dependencies, _version(python))).encode()).hexdigest()[:12]
    folder = cache / f"{peer.name}-{key}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        # Our own pip installs into it: to make one for each environment takes ten times as long as all the rest of it.
        venv = [python, "-m", "venv", "--without-pip", str(folder)]
        _run(venv, f"its virtual environment {folder} can't be made")
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        install = [*pip, "install", "--quiet", "--disable-pip-version-check", *peer.dependencies]
        _run(install, f"pip can't install {', '.join(peer.dependencies)}")
        (folder / "ready").touch()
    return _describe(folder / "bin" / "python")


def _run(command: Sequence[str], failure: str) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().splitlines()[-1:] or ["no word of why"]
        raise Unavailable(f"{failure}: {last[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{failure} within {PATIENCE_S} s") from error


def _describe(python: Path) -> Environment:
    source = (
        "import json, platform; from importlib.metadata import distributions;"
        "print(json.dumps([platform.python_version(), {d.name: d.version for d in distributions()}]))"
    )
    answer = subprocess.run([str(python), "-c", source], capture_output=True, text=True, check=True)
    version, versions = json.loads(answer.stdout)
    return Environment(python, version, versions)
