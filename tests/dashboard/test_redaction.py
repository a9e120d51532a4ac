"""What redacted actors were called with, returned and raised is seen on no page, in no JSON, by no asking."""

from __future__ import annotations

from dataclasses import replace

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.dashboard.pages.all_that_match import SAMPLE
from pgqueue.dashboard.pages.dead import PAGE
from pgqueue.message import Message
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue, done

from .conftest import Visitor, VisitorOf, bury, encoded

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


def test_a_message_that_carries_a_redacted_call_shows_nothing_of_it(
    visitor_of: VisitorOf, queue: Queue
) -> None:
    hidden = {
        "queue_name": "default", "actor_name": "charge", "args": [SECRET], "kwargs": {"card": SECRET},
        "options": {"traceback": SECRET, "retries": 2, "on_failure": SECRET}, "message_id": "next",
        "message_timestamp": 1,
    }  # fmt: skip
    last = {**hidden, "actor_name": "other", "args": [1], "kwargs": {}, "options": {"pipe_target": hidden}}
    carried: dict[str, bytes] = {
        "pipeline": encoded("first", 1, message_id="pipeline", pipe_target=hidden),
        "longer": encoded("first", 1, message_id="longer", pipe_target=last),
        "group": encoded(
            "first",
            1,
            message_id="group",
            group_completion_uuid="g",
            group_completion_callbacks=[last, hidden],
        ),
        "handler": encoded("told", hidden, {"type": "ValueError", "message": SECRET}, message_id="handler"),
        "deep": encoded("told", [{"a": [{"b": hidden}]}], message_id="deep"),
    }
    named: Message[None] = Message(
        "default", "told", (), {"call": hidden, "why": SECRET}, {}, message_id="named"
    )
    carried["named"] = named.encode()
    for id_, payload in carried.items():
        queue.send_all([queue.new(payload, message_id=id_)])
    bury(queue, "buried", actor="told")
    queue.conn.execute("UPDATE pgqueue.dead_letters SET payload = %s", (carried["handler"],))
    visitor = visitor_of(redact="charge")
    for address in addresses(*carried, "buried"):
        for headers in ({}, {"accept": "application/json"}):
            assert SECRET not in visitor.get(address, headers=headers).text, address
    call = visitor.json("/message", id="handler")["call"]
    assert call["args"] == [
        {
            "queue_name": "default", "actor_name": "charge", "args": "(hidden)", "kwargs": "(hidden)",
            "options": {"retries": 2, "on_failure": "(hidden)"}, "message_id": "next", "message_timestamp": 1,
        },
        "(hidden)",
    ]  # fmt: skip
    assert visitor.json("/message", id="longer")["call"]["options"]["pipe_target"]["args"] == [1]
    # Whoever hides nothing sees all of it.
    assert SECRET in visitor_of().get("/message?id=handler").text


def test_a_message_that_carries_a_redacted_call_is_not_found_by_it(
    visitor_of: VisitorOf, queue: Queue
) -> None:
    hidden = {"queue_name": "default", "actor_name": "charge", "args": [SECRET], "kwargs": {}, "options": {}}
    found = {
        "plain": encoded("first", SECRET, message_id="plain"),
        "carrier": encoded("first", 1, message_id="carrier", pipe_target=hidden),
        "large": encoded("first", SECRET, "x" * 70_000, message_id="large"),
        "undecodable": SECRET.encode(),
    }
    for delay_ms in (None, 3_600_000):
        queue.send_all([
            queue.new(payload, message_id=f"{id_}{delay_ms or ''}", delay_ms=delay_ms) for id_, payload in found.items()
        ])  # fmt: skip
    some, everything = visitor_of(redact="charge"), visitor_of()

    def ids(visitor: Visitor, path: str, shown: str) -> set[str]:
        return {message["message_id"] for message in visitor.json(path, search=SECRET)[shown]}

    expected = {f"{id_}{delay}" for id_ in found for delay in ("", "3600000")}
    assert ids(everything, "/messages", "messages") == expected
    assert ids(some, "/messages", "messages") == {"plain", "plain3600000"}
    assert ids(some, "/messages/all", "sample") == {"plain", "plain3600000"}
    some.act(f"/messages/all?action=delete&search={SECRET}")
    assert ids(everything, "/messages", "messages") == expected - {"plain", "plain3600000"}


def test_a_failed_message_that_carries_a_redacted_call_is_not_found_by_it(
    visitor_of: VisitorOf, queue: Queue
) -> None:
    hidden = {"queue_name": "default", "actor_name": "charge", "args": [SECRET], "kwargs": {}, "options": {}}
    owner = queue.owner()
    for id_, payload in (
        ("carrier", encoded("first", 1, message_id="carrier", pipe_target=hidden)),
        ("plain", encoded("first", SECRET, message_id="plain")),
    ):
        queue.send_all([queue.new(payload, message_id=id_)])
        for message in queue.claimed(owner):
            verdict = done(message, status="f", error="ValueError: bad")
            verdict.message_id = id_
            queue.settle([verdict], closes=True)
        bury(queue, id_, actor="first")
        queue.conn.execute(
            "UPDATE pgqueue.dead_letters SET payload = %s WHERE foreign_id = %s", (payload, id_)
        )

    def ids(visitor: Visitor, text: str) -> list[str]:
        shown = visitor.json("/messages", state="failed", search=text)
        return sorted(message["message_id"] for message in shown["messages"])

    assert ids(visitor_of(), SECRET) == ["carrier", "plain"]
    assert ids(visitor_of(redact="charge"), SECRET) == ["plain"]
    assert ids(visitor_of(redact="charge"), "valueerror") == ["carrier", "plain"]


def test_pages_of_dead_letters_end_as_if_hidden_ones_were_not_there(
    visitor_of: VisitorOf, queue: Queue
) -> None:
    for number in range(3 * PAGE):
        bury(queue, f"hidden{number}", actor="charge", error=f"ValueError: {SECRET}")
    visitor = visitor_of(redact="charge")
    for words in (SECRET, "no such word"):
        shown = visitor.json("/dead", error=words)
        assert (shown["letters"], shown["groups"], shown["cursor"], shown["next"]) == ([], [], None, None)
    for number in range(PAGE + 2):
        bury(queue, f"seen{number}", actor="other", error=f"ValueError: {SECRET}")
        bury(queue, f"more{number}", actor="charge", error=f"ValueError: {SECRET}")
    shown = visitor.json("/dead", error=SECRET)
    assert len(shown["letters"]) == PAGE
    assert shown["cursor"].split("~")[1] == str(
        queue.value("SELECT id FROM pgqueue.dead_letters WHERE foreign_id = 'seen2'")
    )
    rest = visitor.json("/dead", error=SECRET, after=shown["cursor"])
    assert [letter["message_id"] for letter in rest["letters"]] == ["seen1", "seen0"]
    assert rest["cursor"] is None
    assert len(visitor.json("/dead/all", error=SECRET)["sample"]) == SAMPLE


def test_the_kind_of_a_hidden_error_is_shown_if_it_can_be_one(visitor_of: VisitorOf, queue: Queue) -> None:
    for number, error in enumerate((f"{SECRET} 4111 is none: x", "4111: x", SECRET, "app.Declined: x")):
        bury(queue, f"hidden{number}", actor="charge", error=error)
    visitor = visitor_of(redact="charge")
    groups = visitor.json("/dead")["groups"]
    assert {group["kind"] for group in groups} == {"(hidden)", "app.Declined"}
    failing = visitor.json("/overview.json")["failing"]
    assert {group["kind"] for group in failing} == {"(hidden)", "app.Declined"}
    for address in ("/", "/overview.json", "/dead", "/dead.json"):
        text = visitor.get(address).text
        assert SECRET not in text
        assert "4111" not in text
