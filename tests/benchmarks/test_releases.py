"""Earlier releases, unpacked beside this one and measured by the same program."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from benchmarks import against
from benchmarks.once import ROUNDS
from benchmarks.releases import NoRelease, unpack
from benchmarks.server import Bench
from pgqueue.storage.database import REQUIRED_REVISION
from tests.support.processes import ROOT


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel of this checkout, as far as workers need it."""
    path = tmp_path / "pgqueue_engine-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in (ROOT / "pgqueue").rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, file.relative_to(ROOT))
        for file in (ROOT / "migrations").rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, Path("pgqueue") / file.relative_to(ROOT))
    return path


def test_a_wheel_is_unpacked_and_knows_its_revision(wheel: Path, tmp_path: Path) -> None:
    release = unpack(str(wheel), tmp_path / "there")
    assert release.name == wheel.name
    assert (release.path / "pgqueue" / "__init__.py").exists()
    assert release.required_revision == REQUIRED_REVISION


def test_a_commit_is_unpacked_without_what_workers_do_not_need(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None or subprocess.run([git, "log", "-1"], cwd=ROOT, check=False).returncode:
        pytest.skip("there is no history of git here")
    release = unpack("HEAD", tmp_path)
    assert {path.name for path in release.path.iterdir()} == {"pgqueue", "migrations"}


@pytest.mark.parametrize("name", ["v0.0.0-never", "nothing.whl"])
def test_what_is_nowhere_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(NoRelease, match=name):
        unpack(name, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_each_side_runs_with_its_own_pgqueue(
    wheel: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(against, "ROUNDS", {"send_many": ROUNDS["send_many"]})
    report = against.measure(Bench(database_url, rounds=1, scale=0.01, against=str(wheel)))
    (figure,) = report.figures
    assert figure.against == f"pgqueue {wheel.name}"
    assert figure.value > 0
    assert figure.reference > 0
