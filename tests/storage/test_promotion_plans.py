"""Promotion reads what is due and no more, on the listener's connection, whatever the statistics and the plans say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from pgqueue.engine import listener
from pgqueue.storage import scheduled
from pgqueue.storage.database import Connection

from ..support.eventually import eventually
from ..support.plans import buffers, explained, nodes
from ..support.queue import Queue

#: With the drills, too: `make drills` knows how much of each is wanted.
pytestmark = pytest.mark.drill

START = (datetime(1970, 1, 1, tzinfo=UTC), 0)

#: Messages that are not due for long.
MANY = 5_000

#: So many are due, and promoting each touches at most so many buffers: those that writing it takes.
DUE, BUFFERS = 50, 15


def never_analyzed(queue: Queue) -> None:
    fill(queue)


def analyzed_before(queue: Queue) -> None:
    queue.conn.execute("ANALYZE")
    fill(queue)


def analyzed_full(queue: Queue) -> None:
    fill(queue)
    queue.conn.execute("ANALYZE")


def analyzed_when_most_were_due(queue: Queue) -> None:
    queue.send(*[b"x" * 100] * MANY, delay_ms=1)
    queue.conn.execute("UPDATE pgqueue.scheduled SET due_at = due_at - interval '1 day'")
    queue.conn.execute("ANALYZE")
    queue.conn.execute("TRUNCATE pgqueue.scheduled")
    fill(queue)


def fill(queue: Queue) -> None:
    queue.send(*[b"x" * 100] * MANY, delay_ms=3_600_000)


@pytest.mark.parametrize("mode", ["auto", "force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize(
    "situation", [never_analyzed, analyzed_before, analyzed_full, analyzed_when_most_were_due]
)
def test_promotion_reads_what_is_due(queue: Queue, situation: Callable[[Queue], None], mode: str) -> None:
    conn = queue.connect(**{**listener.SETTINGS, "plan_cache_mode": mode})
    # As a worker that has been up for long: its plans were made when there was nothing.
    for _ in range(7):
        promote(queue, conn)
        look(queue, conn)
    situation(queue)
    queue.send(*[b"x" * 100] * DUE, delay_ms=100)
    eventually(lambda: all_due(queue))

    _, plan = explained(conn, lambda: look(queue, conn))
    assert rows_read(plan) <= DUE
    assert buffers(plan) <= 100
    answer, plan = explained(conn, lambda: promote(queue, conn))
    assert answer.promoted == DUE
    assert buffers(plan) <= DUE * BUFFERS
    read = {node["Node Type"] for node in nodes(plan) if node.get("Relation Name") == "scheduled"}
    assert "Seq Scan" not in read


def all_due(queue: Queue) -> None:
    assert queue.value("SELECT count(*) FROM pgqueue.scheduled WHERE due_at <= clock_timestamp()") == DUE


def look(queue: Queue, conn: Connection) -> object:
    return scheduled.next_due_in(conn, queue.statements, after=START)


def promote(queue: Queue, conn: Connection) -> scheduled.Promoted:
    return scheduled.promote(conn, queue.statements, after=START, xids={4711}, limit=1_000)


def rows_read(plan: dict[str, Any]) -> int:
    return max(
        (node["Actual Rows"] * node["Actual Loops"] for node in nodes(plan) if node.get("Relation Name")),
        default=0,
    )
