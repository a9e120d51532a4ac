"""The course of a message, from what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pgqueue.message import Message
from pgqueue.operations.course import time_line_of
from pgqueue.operations.explaining import Found
from pgqueue.storage.attempts import FailedAttempt
from pgqueue.storage.dead_letters import DeadLetter
from pgqueue.storage.whereabouts import End

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(("status", "end"), [("d", "done"), ("f", "failed")])
def test_what_took_no_millisecond_is_told_in_the_order_in_which_it_happened(status: str, end: str) -> None:
    ended = End(
        status, NOON, 0, 0, attempts=0, error=None, queue_name="default", priority=0, actor_name="work",
        foreign_id=None,
    )  # fmt: skip
    retried = FailedAttempt(
        failed_at=NOON - timedelta(seconds=1), key="one", kind="r", actor_name="work", wait_ms=0, run_ms=0,
        error="ValueError: bad", traceback=None, retries=0, worker="here:1",
    )  # fmt: skip
    found = Found("one", live=[], ends=[ended], letters=[], crew=[], pauses=[], attempts=[retried])
    assert [moment.what for moment in time_line_of(found)] == [
        "ready", "begun", "failed, to be retried", "ready", "begun", end,
    ]  # fmt: skip


@pytest.mark.parametrize("wait_ms", [0, 5])
def test_a_message_that_was_retried_was_sent_once_and_is_due_again(wait_ms: int) -> None:
    retried = FailedAttempt(
        failed_at=NOON, key="one", kind="r", actor_name="work", wait_ms=wait_ms, run_ms=10, error="ValueError: bad",
        traceback=None, retries=0, worker="here:1",
    )  # fmt: skip
    sent = int(NOON.timestamp() * 1000) - 12
    message: Message[None] = Message("default", "work", (), {}, {}, message_id="one", message_timestamp=sent)
    letter = DeadLetter(
        id=1, died_at=NOON + timedelta(seconds=2), message_id="one", foreign_id=None, queue_name="default", priority=0,
        actor_name="work", attempts=0, reason="failed", error="ValueError: bad", traceback=None,
        payload=message.encode(), enqueued_at=NOON + timedelta(seconds=1),
    )  # fmt: skip
    found = Found("one", live=[], ends=[], letters=[letter], crew=[], pauses=[], attempts=[retried])
    assert [moment.what for moment in time_line_of(found)] == [
        "enqueued", "ready", "begun", "failed, to be retried", "due", "dead letter",
    ]  # fmt: skip
