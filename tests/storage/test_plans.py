"""Claims and acks use the indexes that they are written for, whatever the statistics say."""

from __future__ import annotations

from typing import Any

import pytest

from pgqueue.engine import acker, fetcher
from pgqueue.storage import messages, queues, removals, whereabouts
from pgqueue.storage.arrays import integers
from pgqueue.storage.database import Connection, fetch
from pgqueue.storage.messages import NewMessage, StoredResult
from pgqueue.storage.positions import Positions

from ..support.plans import explained, nodes
from ..support.queue import Queue, done

MODES = ["auto", "force_custom_plan", "force_generic_plan"]


def nothing(queue: Queue) -> None:
    """The tables have never held a row."""


def analyzed_empty(queue: Queue) -> None:
    queue.conn.execute("ANALYZE")


def analyzed_full(queue: Queue) -> None:
    """What statistics tell has been truncated since."""
    queue.send(*(str(number) for number in range(5_000)))
    queue.conn.execute("ANALYZE")
    queue.conn.execute("TRUNCATE pgqueue.messages, pgqueue.ready, pgqueue.leases")


def full_and_never_analyzed(queue: Queue) -> None:
    queue.send(*(str(number) for number in range(5_000)))
    owner = queue.owner()
    for _ in range(20):
        queue.claimed(owner, limit=20)


SITUATIONS = [nothing, analyzed_empty, analyzed_full, full_and_never_analyzed]


def scans(plan: dict[str, Any], table: str) -> set[tuple[str, str | None]]:
    """The ways in which leaves of a table are read, and the indexes; bitmaps by the scan that makes them."""
    found = set()
    for node in nodes(plan):
        if not str(node.get("Relation Name", "")).startswith(f"{table}_") or "Scan" not in node["Node Type"]:
            continue
        bitmaps = [
            (below["Node Type"], below["Index Name"])
            for below in node.get("Plans", ())
            if "Index Name" in below
        ]
        found.update(bitmaps or [(node["Node Type"], node.get("Index Name"))])
    return found


def claim_plan(queue: Queue, conn: Connection, slots: list[int]) -> dict[str, Any]:
    """The plan of the seventh claim: by then, in the mode ``auto``, it is the one that stays."""
    lanes, owner = [queue.lane(), queue.lane(priority=9)], queue.owner()

    def claim() -> object:
        spans = Positions().plan(lanes, slots)
        return messages.claim(conn, queue.statements, slots=slots, spans=spans, owner=owner, limit=5)

    for _ in range(6):
        claim()
    _, plan = explained(conn, claim)
    return plan


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_claims_read_ready_rows_in_the_order_of_the_index(queue: Queue, situation: Any, mode: str) -> None:
    situation(queue)
    conn = queue.connect(**{**fetcher.SETTINGS, "plan_cache_mode": mode})
    plan = claim_plan(queue, conn, [0, 1])
    ready = {scan for scan in scans(plan, "ready") if scan[0] != "Tid Scan"}
    assert ready == {("Index Scan", "ready_place_0"), ("Index Scan", "ready_place_1")}
    assert scans(plan, "messages") == {("Index Scan", "messages_id_0"), ("Index Scan", "messages_id_1")}
    for node in nodes(plan):
        if node.get("Index Name", "").startswith("ready_place"):
            assert "lane" in node["Index Cond"]
            assert "ROW(xid, id)" in node["Index Cond"]
            assert "xid <=" in node["Index Cond"]
        if node["Node Type"] == "LockRows":
            assert {below["Node Type"] for below in nodes(node)} <= {"LockRows", "Result", "Index Scan"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_acks_find_leases_and_messages_by_their_ids(queue: Queue, situation: Any, mode: str) -> None:
    situation(queue)
    queue.send("one", "two", priority=-1)
    claimed = queue.claimed(queue.owner(), limit=2)
    verdicts = [done(message, status="f", reason="failed") for message in claimed]
    verdicts[0].results = [StoredResult("key", b"value", 1000)]
    verdicts[0].follow_ups = [NewMessage(queue.lane(), "default", "id", "actor", b"")]
    conn = queue.connect(**{**acker.SETTINGS, "plan_cache_mode": mode})

    accepted, plan = explained(conn, lambda: queue.settle(verdicts, closes=True, conn=conn))
    assert len(accepted) == 2
    assert {index for _, index in scans(plan, "leases")} == {"leases_lid_0"}
    assert {index for _, index in scans(plan, "messages")} == {f"messages_id_{slot}" for slot in range(8)}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_message_is_found_by_its_id_without_a_scan(queue: Queue, situation: Any) -> None:
    situation(queue)
    conn = queue.connect(enable_seqscan="off")
    _, plan = explained(
        conn, lambda: queues.status(conn, queue.statements, message_id="00000000-0000-0000-0000-000000000000")
    )
    for table in ("messages", "outcomes", "scheduled", "dead_letters"):
        assert all(kind != "Seq Scan" for kind, _ in scans(plan, table)), table


@pytest.mark.parametrize("situation", SITUATIONS)
def test_figures_of_queues_read_no_more_than_they_count(queue: Queue, situation: Any) -> None:
    situation(queue)
    queue.send(*(str(number) for number in range(3_000)), queue_name="long")
    queue.send(*(str(number) for number in range(3_000)), queue_name="long", delay_ms=60_000)
    conn = queue.connect(**queues.MEASURING)
    figures, plan = explained(conn, lambda: queues.figures(conn, queue.statements, most=50))
    assert [(one.ready, one.scheduled) for one in figures if one.queue_name == "long"] == [(50, 50)]
    read = [
        (node["Relation Name"], node["Actual Rows"] * node["Actual Loops"])
        for node in nodes(plan)
        if str(node.get("Relation Name", "")).startswith(("ready", "scheduled", "dead_letters"))
    ]
    assert [(table, rows) for table, rows in read if rows > 50 * len(figures)] == []


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("what", ["remove", "find"])
def test_operators_find_a_message_without_a_scan(queue: Queue, situation: Any, what: str) -> None:
    situation(queue)
    key = "00000000-0000-0000-0000-000000000000"

    def look(conn: Connection) -> object:
        if what == "remove":
            return removals.remove(conn, queue.statements, keys=[key], record=True)
        return whereabouts.find_live(conn, queue.statements, message_id=key)

    with queue.database.bounded() as conn:
        _, plan = explained(conn, lambda: look(conn))
    for table in ("messages", "ready", "scheduled"):
        assert all(kind != "Seq Scan" for kind, _ in scans(plan, table)), table


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("what", ["give back", "park"])
def test_what_is_given_back_or_put_aside_is_found_without_a_scan(
    queue: Queue, situation: Any, what: str
) -> None:
    situation(queue)
    queue.send("one", "two", priority=-1)
    owner = queue.owner()
    claimed = queue.claimed(owner, limit=2)

    statement = queue.statements.compiled(
        "messages/requeue", parts=frozenset({"ready" if what == "give back" else "parked"})
    )
    parameters = {
        "owner": owner,
        "lids": integers([message.lease.lid for message in claimed]),
        "ids": integers([message.id for message in claimed]),
    }

    def act(conn: Connection) -> list[Any]:
        return fetch(conn, statement, parameters)

    with queue.database.bounded() as conn:
        _, plan = explained(conn, lambda: act(conn))
    assert {kind for kind, _ in scans(plan, "messages")} == {"Index Scan"}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_a_lost_worker_held_is_found_without_a_scan(queue: Queue, situation: Any) -> None:
    situation(queue)
    queue.send("one", "two", priority=-1)
    owner = queue.owner()
    queue.claimed(owner, limit=2)

    def act(conn: Connection) -> Any:
        return messages.reclaim(
            conn, queue.statements, owner=owner, threads=1, max_attempts=3, error="", charged=None
        )

    _, plan = explained(queue.conn, lambda: act(queue.conn))
    assert {kind for kind, _ in scans(plan, "messages")} == {"Index Scan"}
