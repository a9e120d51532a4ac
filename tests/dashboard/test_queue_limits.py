"""Operators limit queues on their page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.queue import Queue

from .conftest import Full, Visitor, VisitorOf


def limits(queue: Queue) -> list[int]:
    return queue.values("SELECT at_once FROM pgqueue.queue_limits")


def test_a_limit_is_set_shown_and_lifted(visitor: Visitor, full: Full) -> None:
    page = visitor.act("/queues", kind="queue", name="default", action="limit", limit="7").text
    assert "Queue default runs at most 7 at once now." in page
    assert "of 7</small>" in page
    assert limits(full.queue) == [7]
    (queue,) = visitor.json("/queues")["queues"]
    assert (queue["name"], queue["limit"]) == ("default", 7)
    answer = visitor.act("/queues", json=True, kind="queue", name="default", action="limit", limit="7").json()
    assert (answer["changed"], answer["limit"]) == (False, 7)
    page = visitor.act("/queues", kind="queue", name="default", action="limit", limit="").text
    assert "Queue default has no limit now." in page
    assert limits(full.queue) == []


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1.5", "99999999999"])
def test_what_is_no_limit_is_refused(visitor: Visitor, queue: Queue, limit: str) -> None:
    answer = visitor.act("/queues", kind="queue", name="default", action="limit", limit=limit)
    assert answer.status_code == 400
    assert "whole number from 1" in answer.text
    assert limits(queue) == []


def test_an_unknown_queue_is_told_of_and_an_actor_has_no_limit(visitor: Visitor, queue: Queue) -> None:
    answer = visitor.act("/queues", kind="queue", name="new", action="limit", limit="2")
    assert "No message was ever sent to a queue new." in answer.text
    assert visitor.act("/queues", kind="actor", name="new", action="limit", limit="2").status_code == 400


def test_viewers_and_other_sites_limit_nothing(visitor_of: VisitorOf, full: Full) -> None:
    viewer = visitor_of(role=lambda _: "viewer")
    assert "Limit a queue" not in viewer.get("/queues").text
    form: dict[str, Any] = {"kind": "queue", "name": "default", "action": "limit", "limit": "2"}
    assert viewer.act("/queues", **form).status_code == 403
    assert visitor_of().post("/queues", data={"token": "a" * 40, **form}).status_code == 403
    assert limits(full.queue) == []
