"""The program and the commands of the README, which share one bundled server as they do there.

Three things differ: the server's files are in a directory of the test's, the page that is fetched is on this machine,
and nothing is installed: `tests/test_packaging.py` does that.
"""

from __future__ import annotations

import http.server
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.support import wait_for_the_end
from tests.support.postgres import quick_directory
from tests.support.processes import ROOT, Process
from tests.support.project import Project, stop, wait_for_workers

README = (ROOT / "README.md").read_text(encoding="utf-8")


class Page(http.server.BaseHTTPRequestHandler):
    """Three words at any address."""

    def do_GET(self) -> None:  # as http.server has it
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"one two three")

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def page_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def fenced(language: str, containing: str) -> str:
    """The block of a language that holds some words."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if containing in block)


@pytest.fixture
def server_place() -> Iterator[Path]:
    """A directory for the bundled server, whose socket needs a short path; it has ended when that is removed."""
    directory = Path(tempfile.mkdtemp(prefix="pgq-", dir=quick_directory())).resolve()
    yield directory
    wait_for_the_end(directory)
    shutil.rmtree(directory)


@pytest.mark.slow
def test_its_program_runs(server_place: Path, tmp_path: Path, programs: list[Process], page_url: str) -> None:
    project = Project(tmp_path, programs)
    project.write("app.py", fenced("python", "count_words"))
    commands = [line.partition("#")[0].strip() for line in fenced("sh", "pgqueue app").splitlines()]
    assert commands == [
        "pip install 'pgqueue-engine[embedded]'", "export PGQUEUE_URL=embedded:", "pgqueue migrate",
        "pgqueue app &", "python app.py http://example.com",
    ]  # fmt: skip
    env: dict[str, str | None] = {"PGQUEUE_URL": f"embedded:{server_place}"}
    code, output = project.run("migrate", env=env)
    assert code == 0, output
    workers = project.start("app", env=env)
    wait_for_workers(workers, os.cpu_count() or 1)
    sender = project.start_python("app.py", page_url, env=env)
    assert sender.wait() == 0, sender.output
    workers.wait_for(f"{page_url} 3", within_s=30.0)
    assert stop(workers) == 0


def test_its_two_commands_are_of_the_makefile() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = re.findall(r"^make (\w+)", fenced("sh", "make demo"), re.MULTILINE)
    assert named == ["demo", "test"]
    assert set(named) <= set(targets)
