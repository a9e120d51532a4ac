"""The course of a message: each attempt with what it failed of, also if it was retried or its worker lost."""

from __future__ import annotations

import os
from typing import Any

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.storage import messages, workers
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue

from .conftest import Visitor, encoded


def test_each_attempt_is_shown_with_what_it_failed_of(
    visitor: Visitor, postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    words = iter(["one", "two", "three"])

    @pgqueue.actor(min_backoff=1, max_backoff=1, max_retries=2)
    def failing() -> None:
        raise ValueError(f"number {next(words)}")

    id_ = failing.send().message_id
    worker_for(postgres_broker)

    def look() -> Any:
        shown = visitor.json("/message", id=id_)
        assert shown["status"] == "failed"
        return shown

    shown = eventually(look, within_s=30.0)
    assert [(each["state"], each["retries"], each["error"]) for each in shown["attempts"]] == [
        ("failed", 2, "ValueError: number three"),
        ("retried", 1, "ValueError: number two"),
        ("retried", 0, "ValueError: number one"),
    ]
    assert all(each["worker"].endswith(f":{os.getpid()}") for each in shown["attempts"])
    moments = [moment["what"] for moment in shown["timeline"]]
    assert [what for what in moments if what not in {"enqueued", "due"}] == [
        "ready", "begun", "failed, to be retried", "ready", "begun", "failed, to be retried", "ready", "begun",
        "failed",
    ]  # fmt: skip
    page = visitor.get(f"/message?id={id_}").text
    assert page.count("<summary>Traceback") == 3
    assert all(f"number {word}" in page for word in ("one", "two", "three"))
    (letter,) = visitor.json("/dead")["letters"]
    assert [each["error"] for each in letter["history"]] == [each["error"] for each in shown["attempts"]]
    assert "3 attempts" in visitor.get("/dead").text


def test_attempts_outlive_the_outcome(visitor: Visitor, queue: Queue) -> None:
    queue.conn.execute(
        """INSERT INTO pgqueue.attempts (failed_at, message_id, lane, slice, kind, actor_name, error, retries)
        VALUES ('2025-01-01', md5('old')::uuid, 1, 0, 'r', 'actor', 'ValueError: bad', 40)"""
    )
    shown = visitor.json("/message", id="old")
    assert (shown["status"], shown["actor"]) == ("unknown", "actor")
    assert "It has failed 1 time" in shown["because"][0]
    assert "Each of the first 32 attempts is kept" in visitor.get("/message?id=old").text


def test_a_lost_worker_is_an_attempt(visitor: Visitor, queue: Queue) -> None:
    payload = encoded("actor", message_id="1")
    queue.send_all([queue.new(payload, message_id="1")])
    for _ in range(3):
        owner = queue.owner(threads=1)
        queue.claimed(owner)
        messages.reclaim(
            queue.conn, queue.statements, owner=owner, threads=1, max_attempts=3, error="thrice", lost="gone"
        )
        workers.remove(queue.conn, queue.statements, owner=owner)
    shown = visitor.json("/message", id="1")
    assert [(each["state"], each["worker"], each["error"]) for each in shown["attempts"]] == [
        ("worker lost", "here:1", "thrice"), ("worker lost", "here:1", "gone"), ("worker lost", "here:1", "gone"),
    ]  # fmt: skip
    assert [each["what"] for each in shown["timeline"]][-2:] == ["failed", "worker lost"]
    assert "badge worker-lost" in visitor.get("/message?id=1").text
