"""What decides whether a change lands: a test that fails twice, or a broken promise, is never let through."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.drills.checks import BROKEN
from tests.support.processes import ROOT

ONE_FAILED = "FAILED tests/test_one.py::test_it - AssertionError"


@pytest.fixture
def run_ci(tmp_path: Path) -> "RunCi":
    return RunCi(tmp_path)


class RunCi:
    """The script beside a `make` that prints and exits as told, and writes down what it was asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        (path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", path / ".ci" / "run")

    def __call__(
        self, *, check: int = 0, first: int = 0, again: int = 0, output: str = ""
    ) -> tuple[int, str]:
        make = self._path / "make"
        (self._path / "output").write_text(output)
        make.write_text(
            '#!/bin/sh\necho "$@" >> asked\ncase "$*" in\n'
            f"check) exit {check};;\n*--last-failed*) exit {again};;\n*) cat output; exit {first};;\nesac\n"
        )
        make.chmod(0o755)
        environment = {**os.environ, "PATH": f"{self._path}:{os.environ['PATH']}"}
        found = subprocess.run(
            [shutil.which("bash") or "bash", ".ci/run"],
            cwd=self._path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return found.returncode, found.stdout

    @property
    def asked(self) -> list[str]:
        """What `make` was asked for."""
        return (self._path / "asked").read_text().splitlines()


def test_what_passes_lands(run_ci: RunCi) -> None:
    assert run_ci(output="5 passed") == (0, "5 passed")
    assert run_ci.asked == ["check", "test"]


def test_a_failed_check_does_not(run_ci: RunCi) -> None:
    assert run_ci(check=2)[0] == 1
    assert run_ci.asked == ["check", "test"]


def test_a_test_that_passes_when_it_is_run_again_is_named(run_ci: RunCi) -> None:
    code, output = run_ci(first=2, output=ONE_FAILED)
    assert code == 0
    assert "flaky" in output
    assert output.count(ONE_FAILED) == 2
    assert run_ci.asked[2].startswith("test JOBS=0 ARGS=--last-failed")


def test_a_test_that_fails_twice_does_not_land(run_ci: RunCi) -> None:
    assert run_ci(first=2, again=2, output=ONE_FAILED)[0] == 1


@pytest.mark.parametrize(
    "output",
    [f"{ONE_FAILED}\n{BROKEN}", "\n".join([ONE_FAILED] * 6), "make: *** no rule", ""],
    ids=["a broken promise", "many", "no tests", "silence"],
)
def test_nothing_else_is_run_again(run_ci: RunCi, output: str) -> None:
    assert run_ci(first=2, output=output)[0] == 1
    assert run_ci.asked == ["check", "test"]
