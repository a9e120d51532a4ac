"""Every page, as HTML and as JSON: with messages in each state, with none, and when asked for nonsense."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pgqueue.dashboard.pages import PAGES
from pgqueue.dashboard.site import Site
from pgqueue.dashboard.words import volume
from pgqueue.storage.health import LockWait
from tests.support.queue import Queue, done

from .conftest import Full, Visitor, bury, encoded

PATHS = sorted(set(PAGES) - {"/message"})


def test_pages_are_there_without_a_message(visitor: Visitor) -> None:
    for path in PATHS:
        answer = visitor.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<h1>" in answer.text


def test_pages_are_there_with_messages_and_as_json_by_name_and_by_header(
    visitor: Visitor, full: Full
) -> None:
    for path in PATHS:
        assert visitor.get(path).status_code == 200
        by_name = visitor.get("/overview.json" if path == "/" else f"{path}.json")
        by_header = visitor.get(path, headers={"accept": "application/json"})
        assert by_name.headers["content-type"] == by_header.headers["content-type"] == "application/json"
        assert by_name.json().keys() == by_header.json().keys()


def test_the_overview_has_every_figure(visitor: Visitor, full: Full) -> None:
    shown = visitor.json("/")
    assert shown["totals"] == {"ready": 1, "running": 1, "scheduled": 1, "parked": 1, "dead": 1}
    assert shown["workers"] == {"alive": 1, "silent": 0, "threads": 2, "busy": 1}
    assert (shown["rates"]["done_in_window"], shown["rates"]["failed_in_window"]) == (1, 1)
    assert [run["message_id"] for run in shown["running"]] == ["running"]
    assert [(group["actor_name"], group["count"]) for group in shown["failing"]] == [("nobody", 1)]
    assert sum(shown["charts"]["ended"]["done"]) > 0
    assert len(shown["charts"]["ended"]["x"]) == len(shown["charts"]["ended"]["failed"]) == 60
    assert shown["charts"]["depth"]["ready"] == [1]


def test_the_queues_have_depths_times_and_pauses(visitor: Visitor, full: Full) -> None:
    visitor.act("/queues", action="pause", kind="actor", name="actor")
    shown = visitor.json("/queues")
    assert shown["paused_actors"] == ["actor"]
    (queue,) = shown["queues"]
    assert (queue["name"], queue["ready"], queue["running"], queue["dead"], queue["workers"]) == (
        "default",
        1,
        1,
        1,
        1,
    )
    assert queue["times"]["count"] == 3
    assert len(queue["times"]["run_ms"]) == 3
    assert sum(queue["ended"]) == 1


FILTERS: list[tuple[str, list[str]]] = [
    ("", ["running", "queued", "parked", "scheduled"]),
    ("state=live&state=done", ["running", "queued", "parked", "scheduled", "done"]),
    ("state=failed", ["failed"]),
    ("state=done&state=cancelled", ["cancelled", "done"]),
    ("queue=default&actor=paused", ["parked"]),
    ("queue=other", []),
    ("error=VALUE", ["failed"]),
    ("error=value&state=done", []),
    ("state=done&since=1h", ["done"]),
    ("state=done&until=1h", []),
    ("state=scheduled&until=2100-01-01T00:00", ["scheduled"]),
    ("state=scheduled&since=2100-01-01", []),
]


def test_filters_live_in_the_address(visitor: Visitor, full: Full) -> None:
    for query, ids in FILTERS:
        shown = visitor.get(f"/messages.json?{query}").json()
        assert [message["message_id"] for message in shown["messages"]] == ids
        page = visitor.get(f"/messages?{query}").text
        assert re.findall(r'<a class="id" [^>]*title="([^"]*)"', page) == ids
        assert ("No message matches." in page) == (not ids)


def test_every_state_that_is_listed_is_marked(visitor: Visitor) -> None:
    for query, marked in {
        "": ["can still run"],
        "state=done": ["done"],
        "state=done&state=failed": ["done", "failed"],
        "state=live&state=done": ["can still run", "done"],
        "state=queued": ["queued"],
    }.items():
        page = visitor.get(f"/messages?{query}").text
        assert re.findall(r'aria-current="true">([^<]+)<', page) == marked


def test_pages_of_a_list_lead_from_one_to_the_next(visitor: Visitor, queue: Queue) -> None:
    queue.send(*["x"] * 5)
    found: list[str] = []
    address = "/messages?state=queued&limit=2"
    while address:
        shown = visitor.get(address, headers={"accept": "application/json"}).json()
        found += [message["message_id"] for message in shown["messages"]]
        assert ("next" in visitor.get(address).text) == bool(shown["next"]) or not shown["next"]
        address = shown["next"]
    assert len(set(found)) == 5


CAN = {
    "running": ["cancel"], "queued": ["cancel", "delete"], "parked": ["cancel", "delete"],
    "scheduled": ["retry", "cancel", "delete"], "dead": ["requeue", "delete"],
    "done": [], "failed": [], "cancelled": [],
}  # fmt: skip


def test_a_message_in_each_state_has_a_page_that_says_why(visitor: Visitor, full: Full) -> None:
    for state, can in CAN.items():
        shown = visitor.json("/message", id=state)
        assert shown["because"]
        assert shown["timeline"]
        assert shown["status"] == {"parked": "queued", "dead": "failed"}.get(state, state)
        assert shown["can"] == can
        page = visitor.get(f"/message?id={state}").text
        assert all(f'id="act-{action}"' in page for action in can)


def test_a_dead_letter_shows_its_call_its_options_and_its_traceback(visitor: Visitor, full: Full) -> None:
    shown = visitor.json("/message", id="dead")
    assert shown["call"]["args"] == ["secret"]
    assert shown["call"]["options"] == {"retries": 3}
    assert [attempt["traceback"] for attempt in shown["attempts"]] == ["Traceback: secret"]
    assert "Traceback: secret" in visitor.get("/message?id=dead").text


def test_a_message_shows_what_follows_it_and_how_it_failed_before(visitor: Visitor, queue: Queue) -> None:
    last = {"actor_name": "last", "message_id": "3", "options": {}}
    then = {"actor_name": "then", "message_id": "2", "options": {"pipe_target": last}}
    group: dict[str, Any] = {
        "group_completion_uuid": "g",
        "group_completion_callbacks": [{"actor_name": "all", "message_id": "4"}],
    }
    payload = encoded(
        "first", message_id="1", pipe_target=then, on_failure="mend", retries=2,
        traceback="Traceback\nKeyError: 'x'\n", **group,
    )  # fmt: skip
    queue.send_all([queue.new(payload, message_id="1")])
    shown = visitor.json("/message", id="1")
    assert [(each["kind"], each["actor"], each["message_id"]) for each in shown["relatives"]] == [
        ("step 1 after it", "then", "2"),
        ("step 2 after it", "last", "3"),
        ("when the group is complete", "all", "4"),
        ("on failure", "mend", None),
    ]
    (attempt,) = shown["attempts"]
    assert (attempt["state"], attempt["retries"], attempt["error"]) == ("retried", 1, "KeyError: 'x'")
    assert "attempt 2" in visitor.get("/message?id=1").text


def test_messages_are_searched_for_text_and_the_page_says_how_far(
    visitor: Visitor, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        payload = encoded("actor", "50% off" if number == 11 else "x", message_id=str(number))
        queue.send_all([queue.new(payload, message_id=str(number))])
    shown = visitor.json("/messages", search="50%")
    assert ([message["message_id"] for message in shown["messages"]], shown["capped"]) == (["11"], False)
    assert shown["filter"]["search"] == "50%"
    assert 'id="capped"' not in visitor.get("/messages?search=50%25").text
    monkeypatch.setattr("pgqueue.operations.listing.CHUNK", 5)
    monkeypatch.setattr("pgqueue.operations.listing.MOST_SEARCHED", 10)
    page = visitor.get("/messages?search=50%25").text
    assert 'id="capped"' in page
    assert 'value="50%"' in page
    rest = visitor.get(
        visitor.json("/messages", search="50%")["next"], headers={"accept": "application/json"}
    )
    assert [message["message_id"] for message in rest.json()["messages"]] == ["11"]


def test_bytes_that_are_no_message_are_shown_as_they_are(visitor: Visitor, queue: Queue) -> None:
    queue.send_all([queue.new(b"\xff<b>", message_id="1")])
    shown = visitor.json("/message", id="1")
    assert shown["call"] == {"undecodable": "\N{REPLACEMENT CHARACTER}<b>", "bytes": 4}
    assert "&lt;b&gt;" in visitor.get("/message?id=1").text


def test_dead_letters_are_grouped_and_paged(visitor: Visitor, queue: Queue) -> None:
    for number in range(55):
        bury(queue, f"a{number}", error=f"KeyError: {number}")
    bury(queue, "b", actor="other", error="timeout")
    shown = visitor.json("/dead")
    assert [(group["actor"], group["kind"], group["count"]) for group in shown["groups"]] == [
        ("nobody", "KeyError", 55),
        ("other", "timeout", 1),
    ]
    assert len(shown["letters"]) == 50
    following = visitor.get(shown["next"], headers={"accept": "application/json"}).json()
    assert len(following["letters"]) == 6
    assert following["next"] is None
    of_group = visitor.json("/dead", **{k: v for k, v in shown["groups"][1]["filter"].items() if v})
    assert [letter["message_id"] for letter in of_group["letters"]] == ["b"]


def test_workers_and_actors_tell_what_they_do(visitor: Visitor, full: Full) -> None:
    (worker,) = visitor.json("/workers")["workers"]
    assert (worker["name"], worker["alive"], worker["held"]) == ("here:1", True, 1)
    assert [run["message_id"] for run in worker["running"]] == ["running"]
    shown = visitor.json("/actors")
    (actor,) = shown["actors"]
    assert (actor["name"], actor["count"], actor["failed"], actor["cancelled"]) == ("actor", 3, 1, 1)
    assert [each["name"] for each in shown["idle"]] == ["idle"]


def test_health_says_the_doctors_checks_the_worst_first(visitor: Visitor, full: Full) -> None:
    visitor.act("/queues", action="pause", kind="queue", name="default")
    checks = visitor.json("/health")["checks"]
    verdicts = [check["verdict"] for check in checks]
    assert verdicts == sorted(verdicts, key=["failure", "warning", "ok"].index)
    paused = next(check for check in checks if check["name"] == "pauses")
    assert (paused["verdict"], paused["remedy"]) == ("warning", "pgqueue queues resume NAME")
    assert all(check["about"] for check in checks)


def test_health_tells_of_waits_and_of_the_log(
    visitor: Visitor, queue: Queue, sites: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.dashboard.history.INTERVAL_S", 3_600)
    queue.send(*["x"] * 150)
    shown = visitor.json("/health")
    assert (shown["lock_waits"], shown["log"]["written"]) == ([], None)
    assert "Look again in some seconds" in visitor.get("/health").text
    monkeypatch.setattr("pgqueue.dashboard.history.INTERVAL_S", 0.0)
    first = sites[0].history.looks()[0]
    sites[0].history._looks[0] = replace(first, at_s=first.at_s - 60.0)
    assert "too few messages have ended" in visitor.get("/health").text
    queue.settle([done(message) for message in queue.claimed(queue.owner(), limit=150)], closes=True)
    cost = visitor.json("/health")["log"]
    assert (cost["ended"], cost["written"] > 0) == (150, True)
    assert cost["each"] == cost["written"] / 150
    assert "a message:" in visitor.get("/health").text
    wait = LockWait(
        7, "ready_0", "RowShareLock", 9.0, "app", "SELECT <1>", 8, "other", "active", "VACUUM", 3.0
    )
    monkeypatch.setattr("pgqueue.storage.health.lock_waits", lambda *_: [wait])
    (told,) = visitor.json("/health")["lock_waits"]
    assert (told["pid"], told["blocker_pid"], "pg_cancel_backend(8)" in told["remedy"]) == (7, 8, True)
    page = visitor.get("/health").text
    assert "SELECT &lt;1&gt;" in page
    assert page.index('id="lock-waits"') < page.index("badge warning")


def test_health_answers_while_somebody_holds_a_table(
    visitor: Visitor, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.storage.database.STATEMENT_TIMEOUT_S", 0.5)
    monkeypatch.setattr("pgqueue.operations.checking.IMPATIENT_S", 0.2)
    with queue.connect() as holder, holder.transaction():
        holder.execute("LOCK TABLE pgqueue.dead_letters IN ACCESS EXCLUSIVE MODE")
        shown = visitor.json("/health")
    assert "unanswered" in {each["name"] for each in shown["checks"] if each["verdict"] == "failure"}
    assert "pauses" in {each["name"] for each in shown["checks"]}
    assert shown["log"] is None


def test_bytes_are_written_as_people_read_them() -> None:
    found = [volume(each) for each in (None, 7.4, 2_048, 5_000_000, 50 * 1024**2)]
    assert found == ["\N{EN DASH}", "7 bytes", "2.0 kB", "4,882.8 kB", "50 MB"]


NONSENSE = [
    ("/message", 400, "id=ID"),
    ("/message?id=no+such", 404, "No message of this id is known"),
    ("/message?id=%00", 400, "zero byte"),
    ("/messages?state=asleep", 400, "asleep"),
    ("/messages?after=nonsense", 400, "no place in this list"),
    ("/messages?limit=0", 400, "from 1 to 500"),
    ("/messages?limit=%C2%B2", 400, "from 1 to 500"),
    ("/messages?since=yesterday", 400, "how long ago"),
    ("/messages?queue=%00", 400, "zero byte"),
    ("/messages?%ff=%fe&&&=", 200, "No message matches"),
    ("/messages/all?state=done", 400, "all at once"),
    ("/messages/all?action=explode", 400, "explode"),
    ("/dead?after=x", 400, "no place among the dead letters"),
    ("/dead?after=2025-01-01~1", 400, "no place among the dead letters"),
    ("/queues?window=7y", 400, "7y"),
    ("/nowhere", 404, "/nowhere"),
    ("/static/nothing.js", 404, ""),
]


def test_what_makes_no_sense_is_said(visitor: Visitor) -> None:
    for address, status, says in NONSENSE:
        answer = visitor.get(address)
        assert (answer.status_code, says in answer.text) == (status, True), address
        assert visitor.get(address, headers={"accept": "application/json"}).status_code == status


def test_nothing_that_is_shown_becomes_markup(visitor: Visitor, queue: Queue) -> None:
    evil = "<script>alert(1)</script>\"'"
    bury(queue, evil, actor=evil, error=evil, queue_name="q")
    queue.send_all(
        [queue.new(encoded(evil, evil, message_id=f"2{evil}"), message_id=f"2{evil}", queue_name="q")]
    )
    addresses: list[tuple[str, dict[str, str]]] = [
        ("/", {}), ("/dead", {}), ("/dead/all", {}), ("/messages", {}), ("/messages", {"queue": evil}),
        ("/message", {"id": evil}), ("/message", {"id": f"2{evil}"}), ("/dead", {"error": evil}),
    ]  # fmt: skip
    for path, parameters in addresses:
        page = visitor.get(path, params=parameters).text
        assert "<script>alert" not in page
        assert 'src="' in page
    assert visitor.json("/message", id=f"2{evil}")["status"] == "queued"
