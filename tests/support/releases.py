"""An earlier release of pgqueue, unpacked beside this one: from a wheel, a tag or any other revision of git.

PGQUEUE_PREVIOUS names it. Without that it is the newest tag, or, before the first release, what was there just before
the schema's newest revision: the last that a rolling upgrade may have to stand beside.
"""

import os
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from .processes import ROOT

__all__ = ["Release", "previous_release"]

#: What a checkout needs to run workers.
PARTS = ("pgqueue", "migrations")


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


def previous_release(directory: Path) -> Release:
    """Unpack the previous release into an empty directory; skip the test, with the reason, where it can't be had."""
    asked = os.environ.get("PGQUEUE_PREVIOUS") or _newest_tag() or _before_the_newest_revision()
    if asked.endswith(".whl"):
        with zipfile.ZipFile(asked) as wheel:
            wheel.extractall(directory)  # noqa: S202  # as trusted as what is installed
        return Release(Path(asked).name, directory)
    archive = _git("archive", asked, "--", *PARTS)
    if archive is None:
        pytest.skip(f"git has no {asked!r}: fetch it, or name another by PGQUEUE_PREVIOUS")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(directory, filter="data")
    return Release(asked, directory)


def _newest_tag() -> str | None:
    return _line("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^")


def _before_the_newest_revision() -> str:
    newest = max((ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    added = _line("log", "--diff-filter=A", "--format=%H", "-1", "--", str(newest.relative_to(ROOT)))
    if added is None:
        pytest.skip(f"there is no history of git that tells what was before {newest.name}")
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
