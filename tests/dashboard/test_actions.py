"""Actions: on one message, on a selection, on all that match; and what is said when there is nothing to do any more."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pgqueue.dashboard.pages import all_that_match
from pgqueue.operations import acting
from pgqueue.operations.listing import MessageFilter, list_messages
from tests.support.queue import Queue

from .conftest import Full, Visitor, bury, encoded


def states(queue: Queue) -> dict[str, str]:
    """Every message that can still run or was cancelled, by its id."""
    which = MessageFilter(("running", "queued", "parked", "scheduled", "cancelled"))
    return {each.message_id: each.state for each in list_messages(queue.database, which).messages}


def fill(queue: Queue, *ids: str, delay_ms: float | None = None) -> None:
    """Send messages."""
    queue.send_all(
        [queue.new(encoded("actor", message_id=id_), message_id=id_, delay_ms=delay_ms) for id_ in ids]
    )


class TestOne:
    def test_a_scheduled_message_runs_now(self, visitor: Visitor, full: Full) -> None:
        page = visitor.act("/messages", action="retry", id="scheduled", back="/message?id=scheduled")
        assert page.url.path == "/message"
        assert "scheduled: made ready now." in page.text
        assert states(full.queue)["scheduled"] == "queued"
        assert "made ready now" not in visitor.get("/message?id=scheduled").text  # it is said once

    def test_a_dead_letter_is_requeued(self, visitor: Visitor, full: Full) -> None:
        assert "dead: requeued." in visitor.act("/messages", action="requeue", id="dead").text
        assert states(full.queue)["dead"] == "queued"
        assert full.queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0

    def test_what_waits_is_cancelled_or_deleted(self, visitor: Visitor, full: Full) -> None:
        assert "queued: cancelled." in visitor.act("/messages", action="cancel", id="queued").text
        assert states(full.queue)["queued"] == "cancelled"
        assert "parked: deleted." in visitor.act("/messages", action="delete", id="parked").text
        assert "parked" not in states(full.queue)

    def test_a_running_message_is_asked_to_end(self, visitor: Visitor, full: Full) -> None:
        with_others = visitor.act("/messages", json=True, action="cancel", id=["running", "queued"]).json()
        assert [result["ok"] for result in with_others["results"]] == [True, True]
        assert full.queue.values("SELECT state FROM pgqueue.cancellations") == ["asked"]

    def test_what_has_changed_its_state_meanwhile_is_said(self, visitor: Visitor, full: Full) -> None:
        said = {
            ("delete", "running"): "a worker holds it; cancel it first",
            ("requeue", "queued"): "no dead letter: it is queued already",
            ("retry", "done"): "it is over: nothing is left of it to run or delete",
            ("cancel", "done"): "it is done already",
            ("delete", "gone"): "no such message",
        }
        for (action, id_), text in said.items():
            assert f"{id_}: {text}." in visitor.act("/messages", action=action, id=id_).text
            (result,) = visitor.act("/messages", json=True, action=action, id=id_).json()["results"]
            assert result == {"message_id": id_, "result": text, "ok": False}


class TestSelection:
    def test_each_is_acted_on_and_those_that_could_not_be_are_named(
        self, visitor: Visitor, full: Full
    ) -> None:
        page = visitor.act("/messages", action="delete", id=["queued", "scheduled", "running", "queued"])
        assert "2 of 3 messages: deleted." in page.text
        assert "running: a worker holds it" in page.text
        assert set(states(full.queue)) == {"running", "parked", "cancelled"}

    def test_many_words_are_cut_to_what_a_cookie_holds(self, visitor: Visitor, queue: Queue) -> None:
        page = visitor.act("/messages", action="delete", id=[f"no such {number}" for number in range(200)])
        assert "0 of 200 messages: deleted." in page.text
        assert "and 200 more" in page.text

    def test_none_too_many_and_nonsense_are_refused(self, visitor: Visitor) -> None:
        assert "No message was chosen." in visitor.act("/messages", action="delete").text
        assert visitor.act("/messages", action="explode", id="x").status_code == 400
        assert visitor.act("/messages", action="delete", id=[str(n) for n in range(501)]).status_code == 400
        assert visitor.act("/messages", action="delete", id="x" * 200_001).status_code == 413
        assert visitor.act("/messages", action="delete", id="\0").status_code == 200
        assert visitor.act("/messages/all?action=delete", done="-1").status_code == 400

    def test_one_comes_back_to_where_one_was_and_nowhere_else(self, visitor: Visitor) -> None:
        page = visitor.act("/messages", action="retry", back="/messages?queue=a%20b")
        assert str(page.url).endswith("/messages?queue=a%20b")
        for back in (
            "//evil.example/",
            "https://evil.example/",
            "/\\evil.example",
            "javascript:x",
            "",
            "/\n/x",
        ):
            page = visitor.act("/messages", action="retry", back=back)
            assert (page.status_code, page.url.path, page.url.host) == (200, "/messages", "127.0.0.1")


class TestAllThatMatch:
    @pytest.mark.parametrize(
        ("action", "left"), [("delete", []), ("cancel", ["cancelled"]), ("retry", ["queued"])]
    )
    def test_a_preview_then_all_of_them(
        self, visitor: Visitor, queue: Queue, action: str, left: list[str]
    ) -> None:
        fill(queue, *(str(number) for number in range(12)), delay_ms=3_600_000)
        address = f"/messages/all?action={action}&state=scheduled"
        shown = visitor.get(address, headers={"accept": "application/json"}).json()
        assert (shown["matched"], shown["complete"], len(shown["sample"])) == (12, True, 5)
        assert set(states(queue).values()) == {"scheduled"}
        page = visitor.act(address, **hidden(visitor.get(address).text))
        assert "12 messages" in page.text
        assert page.url.path == "/messages"
        assert sorted(set(states(queue).values())) == left

    def test_what_a_worker_holds_stays(self, visitor: Visitor, full: Full) -> None:
        assert "3 messages deleted." in visitor.act("/messages/all?action=delete").text
        assert set(states(full.queue)) == {"running", "cancelled"}

    def test_many_go_step_by_step_and_each_step_says_how_far_it_is(
        self, visitor: Visitor, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acting, "BATCH", 4)
        monkeypatch.setattr(all_that_match, "STEP_S", 0.0)
        fill(queue, *(str(number) for number in range(10)))
        address = "/messages/all?action=delete&state=queued"
        page = visitor.act(address, matched="10")
        assert "<b>4</b> of about 10 messages deleted so far" in page.text
        assert "data-continue" in page.text
        page = visitor.act(address, **hidden(page.text))
        assert "<b>8</b> of about 10 messages deleted so far" in page.text
        page = visitor.act(address, **hidden(page.text))
        assert "10 messages deleted." in page.text
        assert states(queue) == {}

    @pytest.mark.parametrize(("action", "ready"), [("requeue", 9), ("purge", 0)])
    def test_dead_letters_of_a_group_are_requeued_or_deleted(
        self, visitor: Visitor, queue: Queue, monkeypatch: pytest.MonkeyPatch, action: str, ready: int
    ) -> None:
        monkeypatch.setattr(acting, "BATCH", 3)
        monkeypatch.setattr(all_that_match, "STEP_S", 0.0)
        for number in range(9):
            bury(queue, str(number))
        bury(queue, "other", error="KeyError: 1")
        address = f"/dead/all?action={action}&error=ValueError"
        assert "<b>9</b> dead letters would be" in visitor.get(address).text
        page, steps = visitor.act(address), 1
        while "data-continue" in page.text:
            page, steps = visitor.act(address, **hidden(page.text)), steps + 1
        assert steps == 4
        assert queue.values("SELECT foreign_id FROM pgqueue.dead_letters") == ["other"]
        assert len(states(queue)) == ready

    def test_a_preview_looks_no_further_than_a_list_and_says_so(
        self, visitor: Visitor, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("pgqueue.operations.listing.CHUNK", 2)
        monkeypatch.setattr("pgqueue.operations.listing.MOST_LOOKED_AT", 4)
        for number in range(9):
            actor = "late" if number == 8 else "early"
            queue.send_all([replace(queue.new("x", message_id=str(number)), actor_name=actor)])
        assert (
            "<b>4 or more</b> messages would be"
            in visitor.get("/messages/all?action=delete&actor=early").text
        )
        address = "/messages/all?action=delete&actor=late"
        page = visitor.get(address).text
        assert "None of the messages that were looked at matches; there are more" in page
        assert 'id="confirm"' in page
        assert "1 messages deleted." in visitor.act(address).text

    def test_a_filter_that_matches_nothing(self, visitor: Visitor, queue: Queue) -> None:
        for address in ("/messages/all?action=delete&queue=no+such", "/dead/all?error=none"):
            page = visitor.get(address).text
            assert "matches" in page
            assert 'id="confirm"' not in page
        assert "0 dead letters requeued." in visitor.act("/dead/all?action=requeue&error=none").text


class TestPauses:
    def test_queues_and_actors_are_paused_and_resumed(self, visitor: Visitor, full: Full) -> None:
        for kind, name in (("queue", "default"), ("actor", "actor")):
            title = f"{kind.capitalize()} {name}"
            assert (
                f"{title} is paused now." in visitor.act("/queues", kind=kind, name=name, action="pause").text
            )
            assert (
                f"{title} was paused already."
                in visitor.act("/queues", kind=kind, name=name, action="pause").text
            )
            assert (
                f"{title} is not paused now."
                in visitor.act("/queues", kind=kind, name=name, action="resume").text
            )
            assert (
                f"{title} was not paused already."
                in visitor.act("/queues", kind=kind, name=name, action="resume").text
            )

    def test_a_queue_that_nobody_knows_is_paused_with_a_remark(self, visitor: Visitor, queue: Queue) -> None:
        assert (
            "No message was ever sent" in visitor.act("/queues", kind="queue", name="x", action="pause").text
        )

    def test_nonsense_is_refused(self, visitor: Visitor) -> None:
        assert visitor.act("/queues", kind="server", name="x", action="pause").status_code == 400
        assert visitor.act("/queues", kind="queue", action="pause").status_code == 400


def hidden(page: str) -> dict[str, Any]:
    """The hidden fields of the form that goes on."""
    form = page[page.index('<form method="post"') :]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form))
