"""``pgqueue workers quiet``, ``work`` and ``stop``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from pgqueue.brokers.postgres import PostgresBroker
from tests.conftest import WorkerFor
from tests.support.queue import Queue

from .conftest import Run


@pytest.fixture
def worker_id(postgres_broker: PostgresBroker, worker_for: WorkerFor, data: Callable[..., Any]) -> str:
    """A running worker's."""
    postgres_broker.declare_queue("default")
    worker_for(postgres_broker)
    (worker,) = data("workers")["workers"]
    return str(worker["id"])


def test_a_worker_goes_quiet_and_works_again(run: Run, data: Callable[..., Any], worker_id: str) -> None:
    code, text = run("workers", "quiet", worker_id[:6])
    assert (code, text.count("is to begin no more messages.")) == (0, 1), text
    (worker,) = data("workers")["workers"]
    assert (worker["state"], worker["ordered"]) == ("quiet", "quiet")
    assert worker["memory_bytes"] > 1024**2
    assert "quiet" in run("workers")[1].splitlines()[1]
    assert "was quiet already" in run("workers", "quiet", "--all")[1]
    answer = data("workers", "work", worker_id)
    assert answer["results"][0] | {"name": ""} == {
        "id": worker_id,
        "name": "",
        "outcome": "ordered",
        "result": "is to work again",
        "obeys": True,
    }
    assert data("workers")["workers"][0]["state"] == "working"
    assert "state    working" in run("workers", worker_id[:8])[1]


def test_a_stop_can_not_be_called_back(run: Run, worker_id: str) -> None:
    assert run("workers", "stop", worker_id)[0] == 0
    code, text = run("workers", "work", worker_id)
    assert code == 1
    assert "is stopping, and can't be called back." in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quiet"], "Which ones? pgqueue workers quiet ID … or pgqueue workers quiet --all"),
        (["stop", "a", "--all"], "Which ones? pgqueue workers stop ID …"),
        (["--all"], "--all goes with quiet, work or stop"),
        (["kill", "a"], "Expected quiet, work or stop before ids, not 'kill'."),
    ],
)
def test_a_command_line_that_makes_no_sense(run: Run, words: list[str], said: str) -> None:
    code, text = run("workers", *words)
    assert (code, said in text) == (2, True), text


def test_whoever_is_not_there_is_named(run: Run, data: Callable[..., Any], worker_id: str) -> None:
    unknown = "e" if worker_id[0] != "e" else "f"
    code, text = run("workers", "quiet", unknown, worker_id)
    assert code == 1
    assert f"There is no worker {unknown}: `pgqueue workers` lists those that there are." in text
    assert "is to begin no more messages." in text
    assert data("workers", "quiet", "no", "--json")["problems"]


def test_nobody_is_there(run: Run) -> None:
    assert run("workers", "stop", "--all") == (1, "There is no worker.\n")


def test_one_that_does_not_answer_and_one_that_can_not(
    run: Run, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.cli.workers.OBEY_S", 0.0)
    queue.owner()
    assert "takes no orders: stop it with SIGTERM" in run("workers", "stop", "here:1")[1]
    queue.conn.execute("UPDATE pgqueue.workers SET process = %s", (uuid4(),))
    code, text = run("workers", "stop", "here:1")
    assert code == 0
    assert "and to stop; it has not answered yet." in text
    assert "working, to stop" in run("workers")[1]
