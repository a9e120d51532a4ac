"""The pages for operators say what is so: their examples run, their commands exist."""

import pytest

import pgqueue
from tests.conftest import WorkerFor

from .pages import blocks_of, page, run_python, sections

OPERATIONS = page("operations.md")

WITH_PYTHON = [
    title
    for title, blocks in sections(OPERATIONS).items()
    if any(block.language == "python" for block in blocks)
]


@pytest.mark.usefixtures("postgres_broker")
@pytest.mark.parametrize("title", WITH_PYTHON)
def test_the_examples_run(
    title: str, database_url: str, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    run_python(
        blocks_of(OPERATIONS, title, "python"),
        path=OPERATIONS,
        start_workers=lambda: worker_for(pgqueue.get_broker(), worker_threads=4),
    )


def test_every_answer_to_a_cancellation_is_explained() -> None:
    text = OPERATIONS.read_text()
    assert [answer.name for answer in pgqueue.Cancellation if f"`{answer.name}`" not in text] == []
