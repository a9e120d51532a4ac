"""The examples of docs/transactions.md run, and its table names every error."""

from __future__ import annotations

import psycopg
import pytest

import pgqueue
from pgqueue import errors
from pgqueue.brokers.postgres import PostgresBroker
from tests.conftest import WorkerFor

from .pages import blocks_of, page, run_python, sections

PAGE = page("transactions.md")

WITH_PYTHON = [
    title for title, blocks in sections(PAGE).items() if any(block.language == "python" for block in blocks)
]


@pytest.mark.parametrize("title", WITH_PYTHON)
def test_the_examples_run(
    title: str,
    database_url: str,
    postgres_broker: PostgresBroker,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(blocks_of(PAGE, "", "sql")[0].text.encode())
    run_python(
        blocks_of(PAGE, title, "python"),
        path=PAGE,
        start_workers=lambda: worker_for(pgqueue.get_broker(), worker_threads=2),
    )


def test_every_error_is_in_the_table() -> None:
    text = PAGE.read_text() + page("transactional-actors.md").read_text()
    names = {name for name in errors.__all__ if issubclass(getattr(errors, name), errors.TransactionError)}
    assert {name for name in names if name not in text} == set()


def test_every_section_is_in_the_contents() -> None:
    text = PAGE.read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [title for title in titles if f"(#{title.lower().replace(' ', '-')})" not in text] == []
