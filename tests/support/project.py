"""A user's project in a directory of its own, run with ``pgqueue`` as its user would."""

import re
import signal
import textwrap
from pathlib import Path

from .eventually import eventually
from .processes import Process, alive

__all__ = ["STUB", "Project", "stop", "wait_for_workers", "wait_until_dead", "worker_pids"]

#: The beginning of a module with a broker in memory; each worker process has a queue of its own.
STUB = """
import os, pgqueue
from pgqueue.brokers.stub import StubBroker
broker = StubBroker()
pgqueue.set_broker(broker)
"""


class Project:
    """Modules in a directory, and the programs run there; ``programs`` ends these after the test.

    Parameters:
      warm: Fork the programs, where that can be, from an interpreter that has imported pgqueue.
    """

    def __init__(self, directory: Path, programs: list[Process], *, warm: bool = True) -> None:
        self.directory = directory
        self._programs = programs
        self._warm = warm

    def write(self, name: str, source: str) -> Path:
        """Write a file of the project; indented source may fit the test that holds it."""
        path = self.directory / name
        path.write_text(textwrap.dedent(source))
        return path

    def stub(self, source: str = "") -> None:
        """Write ``app.py`` with a broker in memory and then ``source``."""
        self.write("app.py", STUB + textwrap.dedent(source))

    def start(self, *words: str, env: dict[str, str | None] | None = None) -> Process:
        """Start ``pgqueue words…`` in the project."""
        return self.start_python("-m", "pgqueue", *words, env=env)

    def start_python(self, *arguments: str, env: dict[str, str | None] | None = None) -> Process:
        """Start the interpreter in the project."""
        clean: dict[str, str | None] = {"PGQUEUE_URL": None, "DATABASE_URL": None, "PGQUEUE_SCHEMA": None}
        # Python takes a module for unchanged that is written anew in the same second with the same length.
        clean["PYTHONDONTWRITEBYTECODE"] = "1"
        process = Process(arguments, env={**clean, **(env or {})}, cwd=self.directory, warm=self._warm)
        self._programs.append(process)
        return process

    def run(self, *words: str, env: dict[str, str | None] | None = None) -> tuple[int, str]:
        """Run ``pgqueue words…`` to its end; return exit code and output."""
        process = self.start(*words, env=env)
        return process.wait(), process.output

    def start_workers(
        self, *words: str, processes: int = 1, env: dict[str, str | None] | None = None
    ) -> Process:
        """Start ``app`` with workers and wait until all are up."""
        process = self.start("app", "-p", str(processes), *words, env=env)
        wait_for_workers(process, processes)
        return process


def wait_for_workers(process: Process, count: int) -> None:
    """Wait until a program's log tells of so many worker process starts."""

    def look() -> None:
        assert process.running(), process.output
        assert len(worker_pids(process)) >= count, process.output

    eventually(look, within_s=30.0)


def worker_pids(process: Process) -> list[int]:
    """Return the process ids of all workers that have ever been up, oldest first."""
    pattern = (
        r"\[PID (\d+)\] \[MainThread\] \[pgqueue\.WorkerProcess\(\d+\)\] \[INFO\] Worker process is ready"
    )
    return [int(pid) for pid in re.findall(pattern, process.output)]


def stop(process: Process, number: signal.Signals = signal.SIGTERM) -> int:
    """Ask a program to stop; return its exit code."""
    process.send(number)
    return process.wait()


def wait_until_dead(pid: int) -> None:
    """Wait until a process has ended."""

    def look() -> None:
        assert not alive(pid)

    eventually(look, within_s=10.0)
