"""The pages for operators say what is so: their examples run, their commands exist."""

import json

import pytest

import pgqueue
from pgqueue import cli
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message
from tests.conftest import WorkerFor

from .pages import blocks_of, commands_in, page, run_python, sections

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


@pytest.mark.parametrize("words", list(commands_in(OPERATIONS)), ids=" ".join)
def test_the_commands_run(
    words: list[str],
    database_url: str,
    postgres_broker: PostgresBroker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    monkeypatch.setenv("COLUMNS", "100")
    message: Message[None] = postgres_broker.enqueue(Message("mail", "letter", ("Ada",), {}, {}))
    postgres_broker.enqueue(Message("mail", "letter", ("Grace",), {}, {}))
    assert cli.main(["messages", "--limit", "1", "--json"]) == 0
    cursor = json.loads(capsys.readouterr().out)["cursor"]
    real = {"ID": message.message_id, "CURSOR": cursor}
    once = ["--count", "1"] if words[0] == "top" else []
    assert cli.main([real.get(word, word) for word in words] + once) in {0, 1}
    assert capsys.readouterr().err == ""


def test_every_command_of_operators_is_shown() -> None:
    commands = {words[0] for words in commands_in(OPERATIONS)}
    assert commands >= {"queues", "messages", "dead", "workers", "why", "doctor", "top"}
