"""The guide says what is so: its examples run, its commands exist."""

import pytest

import pgqueue
from pgqueue.cli import COMMANDS, _command_parser, make_argument_parser
from tests.conftest import WorkerFor

from .pages import blocks_of, commands_in, page, run_python, sections

GUIDE = page("guide.md")

WITH_PYTHON = [
    title for title, blocks in sections(GUIDE).items() if any(block.language == "python" for block in blocks)
]


@pytest.mark.usefixtures("postgres_broker")
@pytest.mark.parametrize("title", WITH_PYTHON)
def test_the_examples_run(
    title: str, database_url: str, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    run_python(
        blocks_of(GUIDE, title, "python"),
        path=GUIDE,
        start_workers=lambda: worker_for(pgqueue.get_broker(), worker_threads=4),
    )


@pytest.mark.parametrize("words", list(commands_in(GUIDE)), ids=" ".join)
def test_the_commands_are_understood(words: list[str]) -> None:
    if words[0] in COMMANDS:
        _command_parser(words[0]).parse_intermixed_args(words[1:])
    else:
        make_argument_parser().parse_intermixed_args(words)


def test_every_option_of_actors_is_named(stub_broker: pgqueue.Broker) -> None:
    text = GUIDE.read_text()
    options = stub_broker.actor_options | stub_broker.own_actor_options | {"store_results", "result_ttl"}
    assert {name for name in options if f"`{name}`" not in text} == {"pipe_target"}


def test_every_section_is_in_the_contents() -> None:
    text = GUIDE.read_text()
    titles = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert [title for title in titles if f"(#{title.lower().replace(' ', '-')})" not in text] == []
