"""The pages of the guide say what is so: their examples run, their commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pgqueue
from pgqueue.cli import COMMANDS, _command_parser, make_argument_parser
from tests.conftest import WorkerFor, stop_all
from tests.support.processes import ROOT

from .pages import blocks_of, commands_in, page, run_python, sections

#: Pages whose sections run with a broker on PostgreSQL and workers. Others have tests of their own.
PAGES = [
    page(f"{name}.md")
    for name in (
        *("guide", "actors", "scheduling", "retrying", "results", "deploying", "scaling", "monitoring"),
        *("from-celery", "from-procrastinate"),
    )
]

WITH_PYTHON = [
    (path, title)
    for path in PAGES
    for title, blocks in sections(path).items()
    if any(block.language == "python" for block in blocks)
]


def _id(value: object) -> str:
    return value.stem if isinstance(value, Path) else str(value)


@pytest.mark.usefixtures("postgres_broker")
@pytest.mark.parametrize(("path", "title"), WITH_PYTHON, ids=_id)
def test_the_examples_run(
    path: Path, title: str, database_url: str, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    names = run_python(
        blocks_of(path, title, "python"),
        path=path,
        start_workers=lambda: worker_for(pgqueue.get_broker(), worker_threads=4),
    )
    stop_all([value for value in names.values() if isinstance(value, pgqueue.Worker)])


@pytest.mark.parametrize("words", [words for path in PAGES for words in commands_in(path)], ids=" ".join)
def test_the_commands_are_understood(words: list[str]) -> None:
    if words[0] in COMMANDS:
        _command_parser(words[0]).parse_intermixed_args(words[1:])
    else:
        make_argument_parser().parse_intermixed_args(words)


@pytest.mark.parametrize("name", ["from-celery", "from-procrastinate", "operations"])
def test_the_commands_of_tables_are_understood(name: str) -> None:
    shown = re.findall(r"`pgqueue ([^`]+)`", page(f"{name}.md").read_text())
    assert shown
    for words in map(str.split, shown):
        if "…" not in words:
            test_the_commands_are_understood(words)


def test_every_option_of_actors_is_named(stub_broker: pgqueue.Broker) -> None:
    text = page("actors.md").read_text()
    options = stub_broker.actor_options | stub_broker.own_actor_options | {"store_results", "result_ttl"}
    assert {name for name in options if f"`{name}`" not in text} == {"pipe_target"}


def test_the_guide_leads_to_all_of_its_pages() -> None:
    text = page("guide.md").read_text()
    assert [path.name for path in PAGES[1:] if f"]({path.name})" not in text] == []


@pytest.mark.parametrize("name", ["from-celery", "from-procrastinate"])
def test_every_section_is_in_the_contents(name: str) -> None:
    text = page(f"{name}.md").read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [title for title in titles if f"(#{title.lower().replace(' ', '-')})" not in text] == []


def test_python_stands_on_pages_that_run_only() -> None:
    """Each page with examples is among those above, or in a test of its own name."""
    tested = {path.name for path in PAGES} | {"index.md"}
    tested |= {
        path.stem.removeprefix("test_").replace("_", "-") + ".md"
        for path in (ROOT / "tests/docs").glob("test_*.py")
    }
    with_python = {path.name for path in (ROOT / "docs").glob("*.md") if "```python" in path.read_text()}
    assert with_python <= tested
