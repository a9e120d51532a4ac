"""What pages read of hundreds of thousands of messages: no more rows than they show, or count up to their caps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pgqueue.dashboard.pages import PAGES
from pgqueue.operations.overview import MOST_COUNTED
from pgqueue.storage.database import Connection, Database
from tests.support.crowd import crowd
from tests.support.plans import Plans, nodes
from tests.support.queue import Queue

from .conftest import VisitorOf

#: Messages in each of four states.
MANY = 60_000

#: Rows that a page may read in all: 512 blocks of outcomes have some 41,000.
MOST_READ = 60_000

#: What is said of a node that reads too much.
NAMED = ("Node Type", "Index Name", "Index Cond", "Actual Rows", "Actual Loops")

ADDRESSES = [
    *sorted(set(PAGES) - {"/message", "/messages/all", "/dead/all"}),
    "/queues?window=12h",
    "/actors?window=12h",
    "/messages?state=queued&actor=nobody",
    "/messages?state=scheduled&since=2100-01-01",
    "/messages?state=done&actor=nobody",
    "/messages?state=failed&error=nothing+like+it",
    "/messages?search=nothing+like+it",
    "/messages?state=failed&search=nothing+like+it",
    "/message?id=00000000-0000-0000-0000-000000000000",
    "/messages/all?action=delete&queue=bulk",
    "/messages/all?action=delete&actor=nobody",
    "/dead/all?action=requeue",
]


def visited(node: dict[str, Any]) -> float:
    """Rows that a node of a plan that reads a table has looked at."""
    if "Relation Name" not in node:
        return 0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + removed) * node["Actual Loops"])


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_page_reads_more_than_its_caps(
    visitor_of: VisitorOf, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(queue, ready=MANY, scheduled=MANY, dead=MANY, ended=MANY)
    plans = Plans()
    original = Database.transaction

    @contextmanager
    def watched(database: Database) -> Iterator[Connection]:
        with original(database) as conn, plans.of(conn):
            yield conn

    monkeypatch.setattr("pgqueue.dashboard.history.INTERVAL_S", 3_600)
    monkeypatch.setattr(Database, "transaction", watched)
    visitor = visitor_of()
    for address in ADDRESSES:
        plans.clear()
        assert visitor.get(address).status_code in {200, 404}, address
        reads = [max(map(visited, nodes(plan))) for plan in plans]
        assert reads, (address, len(plans))
        greedy = [node for plan in plans for node in nodes(plan) if visited(node) > MOST_COUNTED + 1]
        assert not [(address, *(node.get(key) for key in NAMED)) for node in greedy]
        assert sum(reads) <= MOST_READ, address
        sorts = [node for plan in plans for node in nodes(plan) if node["Node Type"] == "Sort"]
        assert all(node["Plans"][0]["Actual Rows"] <= MOST_COUNTED + 1 for node in sorts), address
