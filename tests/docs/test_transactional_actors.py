"""The examples of docs/transactional-actors.md run, and do what the page says."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from tests.conftest import WorkerFor

from .pages import blocks_of, page, run_python

PAGE = page("transactional-actors.md")

#: What the table of payments holds after the examples of a section.
PAYMENTS = {
    "With psycopg": [(42, 500)],
    "With SQLAlchemy": [(42, 500)],
    "Sending": [(42, 500)],
    "Failures": [(42, 500)],
    "Savepoints": [(42, 1000)],
}


@pytest.fixture
def application(database_url: str) -> Iterator[psycopg.Connection[tuple[int, int]]]:
    """The application's tables, in the queue's database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(blocks_of(PAGE, "", "sql")[0].text.encode())
        yield connection


@pytest.mark.parametrize("title", PAYMENTS)
def test_the_examples_leave_one_effect(
    title: str,
    application: psycopg.Connection[tuple[int, int]],
    postgres_broker: PostgresBroker,
    worker_for: WorkerFor,
) -> None:
    run_python(blocks_of(PAGE, title, "python"), path=PAGE)
    worker_for(pgqueue.get_broker(), worker_threads=2)
    postgres_broker.join("default", timeout=20_000)
    assert application.execute("SELECT order_id, cents FROM payments").fetchall() == PAYMENTS[title]
    assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)


def test_every_section_with_examples_is_run() -> None:
    titles = [line[3:] for line in PAGE.read_text().splitlines() if line.startswith("## ")]
    assert [
        title for title in titles if f"(#{title.lower().replace(' ', '-')})" not in PAGE.read_text()
    ] == []
    with_examples = [
        title
        for title in titles
        if "```python" in PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    ]
    assert with_examples == list(PAYMENTS)
