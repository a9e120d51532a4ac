"""An earlier release of pgqueue, unpacked beside this one: from a wheel, a tag or any other revision of git."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

__all__ = ["NoRelease", "Release", "newest_tag", "release_before_the_newest_revision", "unpack"]

ROOT = Path(__file__).parents[1]

#: What a checkout needs to run workers.
PARTS = ("pgqueue", "migrations")


class NoRelease(Exception):
    """The release that was asked for can't be had; the text says why and what to name in its place."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release.

    Attributes:
      name: As it was asked for: a tag, a commit or a wheel's name.
      path: What to put first on PYTHONPATH; there is nothing in it but pgqueue and its migrations.
    """

    name: str
    path: Path

    @property
    def required_revision(self) -> str:
        """The revision of the schema that it was made for."""
        source = (self.path / "pgqueue" / "storage" / "database.py").read_text()
        (line,) = [line for line in source.splitlines() if line.startswith("REQUIRED_REVISION")]
        return line.split('"')[1]


def unpack(name: str, directory: Path) -> Release:
    """Unpack a release into an empty directory.

    Parameters:
      name: A tag, a commit, or the path of a wheel (``.whl``).

    Raises:
      NoRelease: Neither git nor the file system has it.
    """
    if name.endswith(".whl"):
        if not Path(name).is_file():
            raise NoRelease(f"there is no wheel {name!r}")
        with zipfile.ZipFile(name) as wheel:
            wheel.extractall(directory)  # noqa: S202  # as trusted as what is installed
        return Release(Path(name).name, directory)
    archive = _git("archive", name, "--", *PARTS)
    if archive is None:
        raise NoRelease(f"git has no {name!r} here: fetch it, or name another tag, commit or wheel")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(directory)  # noqa: S202  # our own commit; releases of Python 3.11 before 3.11.4 know no filters
    return Release(name, directory)


def newest_tag() -> str | None:
    """The newest tag of a release before the present commit, if there is any."""
    return _line("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^")


def release_before_the_newest_revision() -> str:
    """What was there just before the schema's newest revision.

    Raises:
      NoRelease: Git's history doesn't tell.
    """
    newest = max((ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    added = _line("log", "--diff-filter=A", "--format=%H", "-1", "--", str(newest.relative_to(ROOT)))
    if added is None:
        raise NoRelease(f"there is no history of git that tells what was before {newest.name}")
    return f"{added}^"


def _line(*arguments: str) -> str | None:
    answer = _git(*arguments)
    return answer.decode().strip() or None if answer is not None else None


def _git(*arguments: str) -> bytes | None:
    """What git answers; None where there is no git, no repository, or not what was asked for."""
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run([program, *arguments], cwd=ROOT, check=False, capture_output=True)
    return done.stdout if done.returncode == 0 else None
