"""What is called once the transaction of an actor has committed."""

from __future__ import annotations

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import NoCurrentTransaction

from ...conftest import WorkerFor
from ...support.effects import Effects
from ...support.eventually import eventually
from .test_bodies import run


def test_it_is_called_after_the_commit_in_order(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []

    def fail() -> None:
        raise LookupError("too bad")

    def body() -> None:
        transaction = pgqueue.current_transaction()
        transaction.on_commit(lambda: seen.append(transaction.message_id))
        transaction.on_commit(fail)
        transaction.on_commit(lambda: seen.append("after one that failed"))
        seen.append("body")

    run(postgres_broker, worker_for, body)

    def check() -> None:
        # They are called after the commit, at which the queue is empty.
        assert len(seen) == 3

    eventually(check)
    assert seen[0] == "body"
    assert seen[2] == "after one that failed"
    assert "had committed failed" in caplog.text
    assert "too bad" in caplog.text


def test_it_is_not_called_if_the_body_fails_and_not_taken_after_the_body(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    seen: list[object] = []

    def body() -> None:
        transaction = pgqueue.current_transaction()
        transaction.on_commit(lambda: seen.append("called"))
        kept.append(transaction)
        raise RuntimeError("it fails")

    kept: list[pgqueue.CurrentTransaction] = []
    run(postgres_broker, worker_for, body)
    assert seen == []
    with pytest.raises(NoCurrentTransaction):
        kept[0].on_commit(lambda: None)
