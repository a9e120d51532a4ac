"""The page on testing says what is so: its examples run."""

import pytest

from .pages import blocks_of, page, run_python, sections

TESTING = page("testing.md")

WITH_PYTHON = [
    title
    for title, blocks in sections(TESTING).items()
    if any(block.language == "python" for block in blocks)
]


@pytest.mark.usefixtures("postgres_broker")
@pytest.mark.parametrize("title", WITH_PYTHON)
def test_the_examples_run(title: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    run_python(blocks_of(TESTING, title, "python"), path=TESTING)
