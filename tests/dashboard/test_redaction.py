"""What redacted actors were called with, returned and raised is seen on no page, in no JSON, by no asking."""

from __future__ import annotations

from dataclasses import replace

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue

from .conftest import VisitorOf, bury, encoded

SECRET = "sesame"


def addresses(*ids: str) -> list[str]:
    """Every place that shows something of a message."""
    return [
        *(f"/message?id={id_}" for id_ in ids),
        "/",
        "/dead",
        "/dead/all",
        "/messages?state=failed&state=live",
        "/workers",
    ]


def test_actors_named_to_the_dashboard_are_redacted(visitor_of: VisitorOf, queue: Queue) -> None:
    bury(queue, "dead", actor="billing_charge", error=f"ValueError: {SECRET}")
    payload = encoded(
        "billing_charge",
        SECRET,
        message_id="live",
        pipe_target={"args": [SECRET]},
        traceback=SECRET,
        retries=1,
    )
    queue.send_all(
        [queue.new(payload, message_id="live"), queue.new(SECRET.encode(), message_id="undecodable")]
    )
    for name, kind in (("dead", "r"), ("live", "r"), ("gone", "r")):
        queue.conn.execute(
            """INSERT INTO pgqueue.attempts
                (failed_at, message_id, lane, slice, kind, actor_name, error, traceback)
            VALUES ('2025-01-01', md5(%s)::uuid, 1, 0, %s, 'billing_charge', %s, %s)""",
            (name, kind, f"ValueError: {SECRET}", SECRET),
        )
    visitor = visitor_of(redact=["billing_*"])
    for address in addresses("dead", "live", "undecodable", "gone"):
        for headers in ({}, {"accept": "application/json"}):
            answer = visitor.get(address, headers=headers)
            assert SECRET not in answer.text.replace(f"error={SECRET}", ""), address
            assert "Traceback: secret" not in answer.text
    shown = visitor.json("/message", id="dead")
    assert (shown["call"]["args"], shown["call"]["options"]) == ("(hidden)", {"retries": 3})
    assert [attempt["error"] for attempt in shown["attempts"]] == 2 * ["ValueError: (hidden)"]
    assert visitor.json("/dead")["groups"][0]["last_error"] == "ValueError: (hidden)"


def test_nobody_learns_a_word_by_asking_for_it(visitor_of: VisitorOf, queue: Queue) -> None:
    bury(queue, "hidden", actor="charge", error=f"ValueError: {SECRET}")
    bury(queue, "seen", actor="other", error=f"ValueError: {SECRET}")
    visitor = visitor_of(redact="charge")
    shown = visitor.json("/dead", error=SECRET)
    assert [letter["message_id"] for letter in shown["letters"]] == ["seen"]
    assert [group["actor"] for group in shown["groups"]] == ["other"]
    preview = visitor.json("/dead/all", error=SECRET)
    assert (preview["matched"], [each["message_id"] for each in preview["sample"]]) == (1, ["seen"])
    assert "1 dead letters requeued." in visitor.act(f"/dead/all?action=requeue&error={SECRET}").text
    assert queue.values("SELECT foreign_id FROM pgqueue.dead_letters") == ["hidden"]


def test_nobody_learns_an_argument_by_searching_for_it(visitor_of: VisitorOf, queue: Queue) -> None:
    for id_, actor in (("hidden", "charge"), ("seen", "other")):
        new = queue.new(encoded(actor, SECRET, message_id=id_), message_id=id_)
        queue.send_all([replace(new, actor_name=actor)])
    visitor = visitor_of(redact="charge")
    shown = visitor.json("/messages", search=SECRET)
    assert [message["message_id"] for message in shown["messages"]] == ["seen"]
    preview = visitor.json("/messages/all", search=SECRET)
    assert (preview["matched"], [each["message_id"] for each in preview["sample"]]) == (1, ["seen"])
    assert "1 messages deleted" in visitor.act(f"/messages/all?action=delete&search={SECRET}").text
    assert queue.values("SELECT foreign_id FROM pgqueue.messages JOIN pgqueue.ready USING (slot, id)") == [
        "hidden"
    ]


def test_an_actor_says_itself_that_it_is_redacted(
    visitor_of: VisitorOf, postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    postgres_broker.add_middleware(Results(backend=PostgresBackend(broker=postgres_broker)))

    @pgqueue.actor(redact=True, store_results=True)
    def hidden(word: str) -> str:
        return word

    @pgqueue.actor(store_results=True)
    def seen(word: str) -> str:
        return word

    messages = [hidden.send(SECRET), seen.send("hello")]
    visitor = visitor_of(postgres_broker)
    assert visitor.json("/message", id=messages[0].message_id)["call"]["args"] == "(hidden)"
    worker_for(postgres_broker)
    eventually(lambda: _assert([message.status() for message in messages] == ["done", "done"]))
    assert visitor.json("/message", id=messages[0].message_id)["result"] == {"value": "(hidden)"}
    assert visitor.json("/message", id=messages[1].message_id)["result"] == {"value": "hello"}
    assert "hello" in visitor.get(f"/message?id={messages[1].message_id}").text


def _assert(fact: object) -> None:
    assert fact
