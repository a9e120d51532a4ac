"""What people install: the wheel, in an environment that has never seen the checkout."""

import signal
import venv
import zipfile
from pathlib import Path

import pytest

import pgqueue
from pgqueue import schema

from .support.eventually import eventually
from .support.processes import ROOT, Process
from .support.shared import made_once

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

APP = """
import pathlib
import sys

import pgqueue


@pgqueue.actor
def greet(name):
    pathlib.Path("greeting").write_text(f"Hello, {name}!")


if __name__ == "__main__":
    greet.send(sys.argv[1])
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution that is built from the checkout."""
    return next(made_once(tmp_path_factory, "dist", build).glob("*.whl"))


def build(directory: Path) -> None:
    arguments = ["-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    with Process(arguments, env={"PYTHONWARNINGS": None}) as builder:
        assert builder.wait(timeout_s=120) == 0, builder.output


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a virtual environment that holds the wheel and what it depends on."""
    return made_once(tmp_path_factory, "environment", lambda home: install(wheel, home)) / "bin"


def install(wheel: Path, home: Path) -> None:
    venv.create(home, symlinks=True)
    # Not compiled: few of the many modules are ever imported.
    options = ["--quiet", "--disable-pip-version-check", "--no-compile"]
    arguments = ["-m", "pip", "--python", str(home / "bin" / "python"), "install", *options, str(wheel)]
    with Process(arguments) as pip:
        assert pip.wait(timeout_s=240) == 0, pip.output


@pytest.fixture
def in_environment(environment: Path, tmp_path: Path, programs: list[Process]) -> "Installed":
    """The way to run installed programs, in an empty directory."""
    return Installed(environment, tmp_path, programs)


class Installed:
    """Runs programs of an environment away from the checkout."""

    def __init__(self, folder: Path, directory: Path, programs: list[Process]) -> None:
        self.folder = folder
        self.directory = directory
        self._programs = programs

    def start(self, *arguments: str, url: str | None = None) -> Process:
        """Start the environment's Python with these arguments."""
        env = {"PYTHONPATH": None, "PGQUEUE_URL": url, "DATABASE_URL": None}
        program = Process(arguments, python=str(self.folder / "python"), cwd=self.directory, env=env)
        self._programs.append(program)
        return program

    def pgqueue(self, *arguments: str, url: str | None = None) -> Process:
        """Start the environment's ``pgqueue`` command."""
        return self.start(str(self.folder / "pgqueue"), *arguments, url=url)


def test_the_wheel_holds_types_statements_migrations_and_the_dashboard(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    statements = {
        f"pgqueue/{path.relative_to(ROOT / 'pgqueue')}" for path in (ROOT / "pgqueue").rglob("*.sql")
    }
    revisions = {
        f"pgqueue/{path.relative_to(ROOT)}" for path in (ROOT / "migrations" / "versions").glob("*.py")
    }
    dashboard = {
        path.relative_to(ROOT).as_posix()
        for kind in ("static", "templates")
        for path in (ROOT / "pgqueue" / "dashboard" / kind).iterdir()
    }
    assert {"pgqueue/dashboard/static/htmx-LICENSE.txt", "pgqueue/dashboard/templates/base.html"} <= dashboard
    assert dashboard <= names
    assert {"pgqueue/py.typed", "pgqueue/migrations/env.py", "pgqueue/embedded/keeper.py"} <= names
    assert statements
    assert statements <= names
    assert revisions
    assert revisions <= names
    assert {"pgqueue/cli/monitoring/board.json", "pgqueue/cli/monitoring/rules.yml"} <= names
    assert not [name for name in names if name.startswith("tests")]


def test_the_installed_command_finds_its_benchmarks(in_environment: Installed) -> None:
    program = in_environment.pgqueue("bench", "swiftness")
    assert program.wait() == 2, program.output
    assert "expected overhead, drain," in program.output


@pytest.mark.long
def test_a_measurement_says_which_extra_it_needs(in_environment: Installed, database_url: str) -> None:
    program = in_environment.pgqueue("bench", "dashboard", "--url", database_url)
    assert program.wait() == 2, program.output
    assert "pip install 'pgqueue-engine[dashboard]'" in program.output


@pytest.mark.long
def test_the_installed_benchmarks_start_their_workers(in_environment: Installed, database_url: str) -> None:
    source = f"""
from pgqueue.benchmarks.server import fresh_schema
from pgqueue.benchmarks.workers import Workers

with fresh_schema({database_url!r}) as schema, Workers({database_url!r}, schema, threads=1) as workers:
    workers.go()
    print("ended with", workers.stop())
"""
    program = in_environment.start("-c", source)
    assert program.wait() == 0, program.output
    assert "ended with []" in program.output


def test_the_installed_dashboard_says_which_extra_it_needs(in_environment: Installed) -> None:
    program = in_environment.pgqueue("dashboard", "--url", "postgresql://localhost/nothing")
    assert program.wait() == 2, program.output
    assert "pip install 'pgqueue-engine[dashboard]'" in program.output


def test_the_installed_command_says_its_version(in_environment: Installed) -> None:
    program = in_environment.pgqueue("--version")
    assert program.wait() == 0, program.output
    assert pgqueue.__version__ in program.output


def test_the_packages_and_the_modules_versions_agree(wheel: Path) -> None:
    assert wheel.name.split("-")[1] == pgqueue.__version__


def test_the_installed_command_migrates_a_fresh_database(
    in_environment: Installed, empty_database_url: str
) -> None:
    program = in_environment.pgqueue("migrate", "--url", empty_database_url)
    assert program.wait(timeout_s=60) == 0, program.output
    assert schema.current(empty_database_url) == schema.head()


def test_an_installed_worker_runs_a_message(in_environment: Installed, database_url: str) -> None:
    (in_environment.directory / "app.py").write_text(APP)
    sender = in_environment.start("app.py", "world", url=database_url)
    assert sender.wait() == 0, sender.output
    worker = in_environment.pgqueue("app", "--processes", "1", "--threads", "1", url=database_url)

    def look() -> None:
        greeting = in_environment.directory / "greeting"
        assert greeting.exists(), worker.output
        assert greeting.read_text() == "Hello, world!"

    eventually(look, within_s=30)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
