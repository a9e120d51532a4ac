"""Operators quiet and stop workers on their page."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from tests.support.queue import Queue

from .conftest import Visitor, VisitorOf

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def process(queue: Queue) -> UUID:
    """A worker ``here:1``, which takes orders and tells how it is."""
    process = uuid4()
    owner = queue.owner()
    queue.conn.execute("UPDATE pgqueue.workers SET process = %s", (process,))
    queue.conn.execute(
        """INSERT INTO pgqueue.worker_states (owner, queues, actors, running, running_since, memory_bytes)
        VALUES (%s, '{default}', '{actor}', '{}', '{}', 77594624)""",
        (owner,),
    )
    return process


def ordered(queue: Queue) -> list[str]:
    return queue.values("SELECT verb FROM pgqueue.worker_orders")


def test_quiet_work_and_stop(visitor: Visitor, queue: Queue, process: UUID) -> None:
    page = visitor.get("/workers").text
    assert "74 MB" in page
    assert f"quiet-{process}" in page
    page = visitor.act("/workers", id=str(process), action="quiet").text
    assert "Worker here:1 is to begin no more messages." in page
    assert f"work-{process}" in page
    assert "working, to go quiet" in page
    assert ordered(queue) == ["quiet"]
    assert "is to work again" in visitor.act("/workers", id=str(process), action="work").text
    assert ordered(queue) == []
    page = visitor.act("/workers", id=str(process), action="stop").text
    assert "is to finish what it runs, and to stop." in page
    assert f"stop-{process}" not in page
    assert "can&#39;t be called back" in visitor.act("/workers", id=str(process), action="work").text


def test_json_says_the_same(visitor: Visitor, process: UUID) -> None:
    (worker,) = visitor.json("/workers")["workers"]
    assert (worker["id"], worker["state"], worker["memory_bytes"]) == (str(process), "working", 77594624)
    answer = visitor.act("/workers", json=True, id=str(process), action="quiet").json()
    assert (answer["outcome"], answer["ok"]) == ("ordered", True)
    (worker,) = visitor.json("/workers")["workers"]
    assert (worker["state"], worker["ordered"]) == ("working", "quiet")


def test_one_that_has_ended_meanwhile(visitor: Visitor, queue: Queue) -> None:
    assert "has ended meanwhile" in visitor.act("/workers", id=str(uuid4()), action="stop").text
    assert ordered(queue) == []


@pytest.mark.parametrize(("id_", "action"), [("x", "quiet"), ("", "quiet"), (NOBODY, "kill"), (NOBODY, "")])
def test_what_makes_no_sense_is_refused(visitor: Visitor, id_: str, action: str) -> None:
    assert visitor.act("/workers", id=id_, action=action).status_code == 400


def test_viewers_and_other_sites_order_nothing(visitor_of: VisitorOf, queue: Queue, process: UUID) -> None:
    viewer = visitor_of(role=lambda _: "viewer")
    assert f"quiet-{process}" not in viewer.get("/workers").text
    assert viewer.act("/workers", id=str(process), action="quiet").status_code == 403
    operator = visitor_of()
    answer = operator.post("/workers", data={"token": "a" * 40, "id": str(process), "action": "quiet"})
    assert answer.status_code == 403
    assert ordered(queue) == []


def test_a_worker_of_a_release_that_takes_no_orders_has_no_buttons(visitor: Visitor, queue: Queue) -> None:
    queue.owner()
    page = visitor.get("/workers").text
    assert "here:1" in page
    assert 'value="quiet"' not in page
