"""What a sender writes into names, arguments and errors is shown to operators, and obeyed by no terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from pgqueue.actor import actor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message
from tests.conftest import WorkerFor
from tests.support.processes import ROOT, ended

from .conftest import Run

#: Sets a window's title, turns the text red in another way, goes back over what was written, and reads backwards.
ORDERS = "a\x1b]0;owned\x07\x9b31m\r\x08\u202eb"
OBEYED = set(ORDERS) - set("ab]0;owned31m")


@pytest.fixture
def letter(postgres_broker: PostgresBroker, worker_for: WorkerFor) -> Message[None]:
    """A dead letter of an actor whose error says so."""

    @actor(broker=postgres_broker, max_retries=0, actor_name=ORDERS)
    def fail(text: str) -> None:
        raise ValueError(text)

    worker_for(postgres_broker)
    message: Message[None] = fail.send(ORDERS)
    postgres_broker.join("default")
    return message


@pytest.mark.parametrize(
    "words",
    [
        "dead",
        "dead groups",
        "dead show {}",
        "messages --state failed",
        "messages show {}",
        "why {}",
        "dead list --json",
    ],
)
def test_it_is_shown_as_a_picture_of_itself(letter: Message[None], run: Run, words: str) -> None:
    _, shown = run(*words.format(letter.message_id).split())
    assert not OBEYED & set(shown), shown
    if "--json" in words:
        assert ORDERS in json.loads(shown)["dead_letters"][0].values()
    else:
        assert "a␛]0;owned" in shown


def test_on_a_terminal_too(letter: Message[None], database_url: str) -> None:
    environment = {
        **os.environ, "PGQUEUE_URL": database_url, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200",
    }  # fmt: skip
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "pgqueue", "messages", "show", letter.message_id]
    shown = b""
    with ended(subprocess.Popen(words, env=environment, stdin=slave, stdout=slave, stderr=slave)):
        os.close(slave)
        try:
            while part := os.read(master, 65_536):
                shown += part
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(master)
    assert "a␛]0;owned" in shown.decode()
    assert b"\x1b]0" not in shown
