"""``pgqueue queues limit``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgqueue.brokers.postgres import PostgresBroker

from .conftest import Run, message_of


def test_a_limit_is_set_shown_and_lifted(
    run: Run, data: Callable[..., Any], postgres_broker: PostgresBroker
) -> None:
    postgres_broker.enqueue(message_of("mail"))
    assert run("queues", "limit", "mail", "3") == (0, "Queue mail runs at most 3 at once now.\n")
    assert run("queues", "limit", "mail.DQ", "3") == (0, "Queue mail runs at most 3 at once already.\n")
    (queue,) = data("queues")["queues"]
    assert (queue["name"], queue["limit"]) == ("mail", 3)
    assert run("queues")[1].splitlines()[1].endswith("no worker, at most 3")
    assert data("queues", "limit", "mail", "1200") == {
        "queue": "mail",
        "limit": 1200,
        "changed": True,
        "known": True,
    }
    assert run("queues", "limit", "mail", "none") == (0, "Queue mail has no limit now.\n")
    assert run("queues", "limit", "mail", "None") == (0, "Queue mail has no limit already.\n")
    assert data("queues")["queues"][0]["limit"] is None


def test_a_queue_that_nobody_has_used_yet_is_told_of(run: Run, data: Callable[..., Any]) -> None:
    code, text = run("queues", "limit", "nobody", "2")
    assert code == 0
    assert "No message was ever sent to a queue nobody." in text
    assert [(each["name"], each["limit"]) for each in data("queues")["queues"]] == [("nobody", 2)]


@pytest.mark.parametrize(
    "number", ["0", "-1", "2.5", "many", "", "\N{DEVANAGARI DIGIT TWO}", "9" * 30, "2147483648"]
)
def test_what_is_no_limit_is_refused(run: Run, number: str) -> None:
    code, text = run("queues", "limit", "mail", "--", number)
    assert code == 2
    assert "whole number from 1 to 2,147,483,647" in text


@pytest.mark.parametrize("words", [[], ["mail"], ["mail", "1", "2"], ["--actor", "mail", "1"]])
def test_a_command_line_that_makes_no_sense(run: Run, words: list[str]) -> None:
    code, text = run("queues", "limit", *words)
    assert code == 2
    assert "pgqueue queues limit NAME N|none" in text
