"""What goes on besides its messages once a worker is lost, whoever finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from pgqueue.engine.board import Board
from pgqueue.engine.control import Standing
from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.inheritance import INTERVAL_S, STILL_CONNECTED_S, Inheritance
from pgqueue.engine.leases import Leases
from pgqueue.maintenance import reaper
from pgqueue.maintenance.reaper import Reaper
from pgqueue.rate_limits.backends import PostgresBackend
from pgqueue.storage import queue_limits, rate_limits, workers
from pgqueue.storage.orders import Orders

from ..support.queue import Queue
from .test_reaper import age, calm, passing

__all__ = ["calm"]

#: Lets somebody find that an owner is gone.
Find = Callable[[Queue, UUID, Path], None]


def by_reaper(queue: Queue, _owner: UUID, _directory: Path) -> None:
    age(queue, seconds=reaper.GRACE_S + 1)
    Reaper(queue.statements).run_once(queue.connect())


def by_reaper_of_the_unregistered(queue: Queue, owner: UUID, _directory: Path) -> None:
    workers.remove(queue.conn, queue.statements, owner=owner)
    queue.conn.execute("UPDATE pgqueue.leases SET claimed_at = claimed_at - interval '1 minute'")
    queue.conn.execute("UPDATE pgqueue.rate_limit_places SET taken_at = taken_at - interval '1 minute'")
    Reaper(queue.statements).run_once(queue.connect())


def by_heir(queue: Queue, owner: UUID, directory: Path) -> None:
    board = Board.create(directory / "board-1", 1)
    board.add_owner(owner)
    board.bequeath(board.path.parent, code=-9)
    board.close()
    Inheritance(queue.statements, directory).run_once(queue.connect())


finders = pytest.mark.parametrize("find", [by_reaper, by_reaper_of_the_unregistered, by_heir])


@finders
def test_its_places_in_limiters_are_free(queue: Queue, tmp_path: Path, find: Find) -> None:
    backend = PostgresBackend(url=queue.database.url)
    key = "pgqueue-rate-limits:key"
    assert backend.incr("key", 1, 1, 60_000)
    with passing(queue) as its:
        owner = queue.owner(its)
        rate_limits.take_place(its, queue.statements, owner=owner, key=key)
    assert not backend.incr("key", 1, 1, 60_000)
    find(queue, owner, tmp_path)
    assert backend.incr("key", 1, 1, 60_000)
    backend.close()


@finders
def test_what_it_was_claiming_is_found_by_those_who_had_passed_it(
    queue: Queue, tmp_path: Path, find: Find
) -> None:
    """Its transaction was undone with it, and they had skipped the rows."""
    leases = Leases()
    leases.adopt(queue.owner())
    fetcher = Fetcher(queue.database, leases, ["default"], need_name=lambda: None)
    queue.send("held", "one", "two")
    with passing(queue) as its:
        owner = queue.owner(its)
        queue.claimed(owner, conn=its, limit=1)
        its.execute("BEGIN")
        queue.claimed(owner, conn=its, limit=1)
        assert [message.payload for message in fetcher.fetch(10)] == [b"two"]
        its.execute("ROLLBACK")
    find(queue, owner, tmp_path)
    found = [*fetcher.fetch(10), *(fetcher.fetch(10) if fetcher.worth_fetching(idle=False) else [])]
    assert sorted(message.payload for message in found) == [b"held", b"one"]
    fetcher.close()


def test_its_heirs_wait_until_the_server_knows_of_its_end(queue: Queue, tmp_path: Path) -> None:
    """Until then a claim or an ack of it may be under way."""
    queue.send("one")
    board = Board.create(tmp_path / "board-1", 1)
    heir, conn = Inheritance(queue.statements, tmp_path), queue.connect()
    with passing(queue) as its:
        board.add_owner(owner := queue.owner(its))
        queue.claimed(owner)
        board.bequeath(board.path.parent, code=-9)
        assert heir.run_once(conn).in_s == STILL_CONNECTED_S
        assert queue.ready() == []
    assert heir.run_once(conn).in_s == INTERVAL_S
    assert queue.ready() == ["one"]
    assert not list(tmp_path.iterdir())
    board.close()


@finders
def test_its_room_in_a_limited_queue_is_there_for_others(queue: Queue, tmp_path: Path, find: Find) -> None:
    queue_limits.set_limit(queue.conn, queue.statements, queue_name="default", at_once=1)
    standing, leases = Standing(), Leases()
    standing.replace(Orders(limited=frozenset({"default"})))
    leases.adopt(queue.owner())
    fetcher = Fetcher(queue.database, leases, ["default"], need_name=lambda: None, standing=standing)
    queue.send("held", "next")
    with passing(queue) as its:
        owner = queue.owner(its)
        queue.claimed(owner, conn=its, limit=1)
        its.execute("UPDATE pgqueue.leases SET queue_name = 'default'")
    fetcher.limits.wake()
    assert fetcher.fetch_limited(2) == []
    find(queue, owner, tmp_path)
    fetcher.limits.wake()
    assert [message.payload for message in fetcher.fetch_limited(2)] in ([b"held"], [b"next"])
    fetcher.close()
