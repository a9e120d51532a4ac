"""Projects whose workers the tests run, and the command line on a test's database."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgqueue import cli
from pgqueue.message import Message
from tests.support.processes import Process
from tests.support.project import Project
from tests.support.queue import Queue, open_queue

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    """An empty project in a directory of its own."""
    return Project(tmp_path, programs)


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with open_queue(database_url) as opened:
        yield opened


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return exit code and output."""
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    monkeypatch.delenv("PGQUEUE_SCHEMA", raising=False)

    def call(*words: str) -> tuple[int, str]:
        try:
            code = cli.main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        written = capsys.readouterr()
        return code, written.out + written.err

    return call


@pytest.fixture
def data(run: Run) -> Callable[..., Any]:
    """Run a command with --json; return what it printed."""

    def call(*words: str) -> Any:
        _, text = run(*words, "--json")
        return json.loads(text)

    return call


def message_of(queue_name: str = "default", actor_name: str = "nobody") -> Message[None]:
    return Message(queue_name, actor_name, (1,), {"to": "Ada"}, {})
