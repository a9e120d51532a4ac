"""Only the present holder of a claim can ack, nack, retry or store a result; late ones change nothing, and are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.maintenance import reaper
from pgqueue.maintenance.reaper import Reaper
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.queue import Queue


def declare_lost(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all workers look as if they had been silent for a minute, and reclaim what they hold."""
    monkeypatch.setattr(reaper, "CALM_S", 0.0)
    queue.conn.execute(
        "UPDATE pgqueue.workers SET seen_at = now() - %s * interval '1 s'", (reaper.SILENT_S + 1,)
    )
    duty = Reaper(queue.statements)
    while duty.run_once(queue.conn).in_s == 0.0:
        pass


def succeed() -> str:
    return "from the zombie"


def fail() -> str:
    raise RuntimeError("in the zombie")


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (succeed, {}),
        (fail, {"max_retries": 0}),
        (fail, {"max_retries": 3, "min_backoff": 1, "max_backoff": 1}),
    ],
    ids=["ack", "nack", "retry"],
)
def test_what_a_worker_does_after_it_was_declared_lost_counts_for_nothing(
    postgres_broker: PostgresBroker,
    queue: Queue,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    end: Callable[[], str],
    options: dict[str, Any],
) -> None:
    postgres_broker.add_middleware(
        Results(backend=PostgresBackend(broker=postgres_broker), store_results=True)
    )
    started, go_on = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    runs = iter([0, 1])

    @pgqueue.actor(**options)  # type: ignore[untyped-decorator]  # as they are of any type
    def work() -> str:
        number = next(runs)
        started[number].set()
        go_on[number].wait(10.0)
        return end() if number == 0 else "from its successor"

    message = work.send()
    worker_for(postgres_broker, worker_threads=2)
    assert started[0].wait(10.0)
    declare_lost(queue, monkeypatch)
    assert started[1].wait(10.0), "the message was not given to another"
    go_on[0].set()

    def told() -> None:
        assert any("LeaseLost" in text and message.message_id in text for text in caplog.messages)

    eventually(told)
    assert postgres_broker.get_message_status(message.message_id).value == "running"
    assert postgres_broker.get_queue_message_counts("default") == (1, 0, 0)
    go_on[1].set()
    assert message.get_result(block=True, timeout=10_000) == "from its successor"
    postgres_broker.join("default", timeout=10_000)
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1
    assert queue.value("SELECT attempts FROM pgqueue.outcomes") == 1
    assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)
