"""Sentry's own hooks hear of what goes wrong in workers. In a program of its own: its SDK changes whole processes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.docs.pages import blocks_of, page
from tests.support.processes import Process

#: Makes the broker and has Sentry's events kept instead of sent.
BEFORE = """
import json, sys
import sentry_sdk
from sentry_sdk.transport import Transport
import pgqueue
from pgqueue.brokers.stub import StubBroker

class Kept(Transport):
    events = []
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)

hints = []

def before_send(event, hint):
    hints.append(hint["exc_info"][0].__name__ if "exc_info" in hint else None)
    return event

sentry_sdk.init(
    "https://public@localhost/1", transport=Kept, before_send=before_send, ignore_errors=[KeyError],
    auto_enabling_integrations=False,
)
pgqueue.set_broker(StubBroker())
"""

AFTER = """
from pgqueue import get_broker
from pgqueue.worker import Worker

@pgqueue.actor(max_retries=1, min_backoff=1, max_backoff=1)
def fails():
    raise ValueError("no")

@pgqueue.actor(max_retries=0)
def is_ignored():
    raise KeyError("no")

@pgqueue.actor(max_retries=0, throws=ValueError)
def is_expected():
    raise ValueError("no")

@pgqueue.actor(max_retries=0)
def tells():
    sentry_sdk.capture_message("hello")

message = fails.send()
for actor in (is_ignored, is_expected, tells):
    actor.send()
get_broker().enqueue(pgqueue.Message("default", "nobody", (), {}, {}))
worker = Worker(get_broker(), worker_threads=1)
worker.start()
get_broker().join("default", fail_fast=False)
worker.stop()
sentry_sdk.flush()
print("events", json.dumps(Kept.events, default=str))
print("hints", json.dumps(hints))
print("message", message.message_id)
"""


@pytest.mark.slow
def test_each_failed_attempt_is_an_event_with_the_messages_tags() -> None:
    (scope,) = blocks_of(page("monitoring.md"), "Sentry", "python")
    with Process.script(BEFORE + scope.text + AFTER) as program:
        assert program.wait(timeout_s=60) == 0, program.output
        said = dict(line.split(" ", 1) for line in program.output.splitlines() if " " in line)
    events: list[dict[str, Any]] = json.loads(said["events"])
    failed = [event for event in events if event.get("exception")]
    assert [event["exception"]["values"][-1]["type"] for event in failed] == ["ValueError", "ValueError"]
    assert {event["tags"]["message_id"] for event in failed} == {said["message"]}
    assert {event["transaction"] for event in failed} == {"fails"}
    assert failed[0]["logger"] == "pgqueue.worker.WorkerThread"
    (told,) = (event for event in events if event.get("message") == "hello")
    assert told["transaction"] == "tells"
    (fault,) = (event for event in events if (event.get("extra") or {}).get("fault"))
    assert fault["extra"]["fault"] == "unknown_actor"
    assert len(events) == 4
    assert sorted(map(str, json.loads(said["hints"]))) == ["None", "None", "ValueError", "ValueError"]
