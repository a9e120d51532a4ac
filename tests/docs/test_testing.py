"""The page on testing says what is so: its examples run."""

from pathlib import Path

import pytest

from tests.support.processes import Process
from tests.support.project import Project

from .pages import blocks_of, page, run_python, sections

TESTING = page("testing.md")

#: The section whose examples are files for pytest.
FILES = "A database for tests"

WITH_PYTHON = [
    title
    for title, blocks in sections(TESTING).items()
    if any(block.language == "python" for block in blocks) and title != FILES
]


@pytest.mark.usefixtures("postgres_broker")
@pytest.mark.parametrize("title", WITH_PYTHON)
def test_the_examples_run(title: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    run_python(blocks_of(TESTING, title, "python"), path=TESTING)


@pytest.mark.slow
def test_its_files_are_a_test_with_a_server_of_its_own(tmp_path: Path, programs: list[Process]) -> None:
    project = Project(tmp_path, programs)
    conftest, test = blocks_of(TESTING, FILES, "python")
    project.write("app.py", blocks_of(page("index.md"), "Five minutes", "python")[0].text)
    project.write("conftest.py", conftest.text)
    project.write("test_app.py", test.text)
    # Twice the same: the queue is empty again.
    project.write("test_again.py", test.text)
    run = project.start_python("-m", "pytest", "-p", "no:cacheprovider")
    assert run.wait() == 0, run.output
    assert "2 passed" in run.output
