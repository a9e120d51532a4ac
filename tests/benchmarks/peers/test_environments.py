from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from benchmarks.peers import environments
from benchmarks.peers.peer import Peer, Unavailable, load


def peer(*dependencies: str, python: str = ">=3.11") -> Peer:
    return dataclasses.replace(load("oban"), dependencies=dependencies, requires_python=python)


@pytest.mark.parametrize(
    ("requirement", "allowed"),
    [(">=3.11", True), (">=3.12", True), (">=3.13", False), ("<3.12", False), (">=3.11,<3.13", True)],
)
def test_a_requirement_bounds_the_version(requirement: str, allowed: bool) -> None:
    assert environments.satisfies((3, 12), requirement) is allowed


def test_a_requirement_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'~=3\.11' can't be read: expected >=X\.Y, <X\.Y or both"):
        environments.satisfies((3, 12), "~=3.11")


def test_the_interpreter_that_runs_the_benchmark_comes_first() -> None:
    assert environments.find_python(">=3.11") == sys.executable


def test_without_an_interpreter_of_an_allowed_version_a_queue_is_not_available(tmp_path: Path) -> None:
    with pytest.raises(
        Unavailable, match=r"it needs Python >=9\.9, which was not found: name one with --python"
    ):
        environments.make(peer("oban", python=">=9.9"), tmp_path, pythons=["/no/such/python"])
    assert list(tmp_path.iterdir()) == []


def test_a_queue_without_dependencies_runs_in_the_environment_of_the_benchmark(tmp_path: Path) -> None:
    environment = environments.make(peer(), tmp_path)
    assert environment.python == Path(sys.executable)
    assert "pytest" in environment.versions
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.timeout(180)
def test_packages_that_cannot_be_installed_are_named_and_tried_again_the_next_time(tmp_path: Path) -> None:
    missing = f"{tmp_path}/missing-1.0-py3-none-any.whl"
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"pip can't install .*missing-1\.0"):
            environments.make(peer(missing), tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*/ready"))
