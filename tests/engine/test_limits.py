"""Claims for queues of which only so many messages run at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest

from pgqueue.engine.control import Standing
from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.leases import Leases
from pgqueue.engine.limits import Limits
from pgqueue.storage import leases as lease_rows, queue_limits, registers, slots
from pgqueue.storage.database import Connection
from pgqueue.storage.messages import ClaimedMessage
from pgqueue.storage.orders import Orders
from pgqueue.storage.statements import Statements
from tests.support.eventually import eventually
from tests.support.plans import buffers, explained

from ..support.queue import Queue, done


@pytest.fixture
def standing() -> Standing:
    return Standing()


@pytest.fixture
def fetcher_for(queue: Queue, standing: Standing) -> Iterator[Callable[[], Fetcher]]:
    """Fetchers of the queues a, which may have a limit, and b."""
    made: list[Fetcher] = []

    def make() -> Fetcher:
        leases = Leases()
        leases.adopt(queue.owner())
        made.append(Fetcher(queue.database, leases, ["a", "b"], need_name=lambda: None, standing=standing))
        return made[-1]

    yield make
    for fetcher in made:
        fetcher.close()


def limit(queue: Queue, standing: Standing, at_once: int | None, queue_name: str = "a") -> None:
    if at_once is None:
        queue_limits.lift(queue.conn, queue.statements, queue_name=queue_name)
    else:
        queue_limits.set_limit(queue.conn, queue.statements, queue_name=queue_name, at_once=at_once)
    standing.replace(Orders(limited=frozenset({queue_name} if at_once else ())))


def texts(claimed: list[ClaimedMessage]) -> list[str]:
    return [message.payload.decode() for message in claimed]


def fetched(fetcher: Fetcher, number: int) -> list[ClaimedMessage]:
    fetcher.limits.wake()
    return fetcher.fetch_limited(number)


def test_all_together_hold_no_more(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    limit(queue, standing, 3)
    queue.send(*"123456", queue_name="a")
    one, two = fetcher_for(), fetcher_for()
    first = fetched(one, 2)
    assert texts(first) == ["1", "2"]
    assert texts(fetched(two, 8)) == ["3"]
    assert fetched(one, 8) == []
    queue.settle([done(first[0])])
    assert texts(fetched(two, 8)) == ["4"]
    queue.settle([done(first[1])], closes=True)
    limit(queue, standing, 5)
    assert texts(fetched(one, 8)) == ["5", "6"]
    assert queue.ready() == []


def test_priorities_hold_within_a_limited_queue(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    limit(queue, standing, 2)
    queue.send("late", queue_name="a", priority=5)
    queue.send("soon", queue_name="a", priority=-5)
    assert texts(fetched(fetcher_for(), 1)) == ["soon"]


def test_other_queues_are_claimed_from_as_ever(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    limit(queue, standing, 1)
    queue.send("a", queue_name="a")
    queue.send("b", queue_name="b")
    fetcher = fetcher_for()
    assert texts(fetcher.fetch(10)) == ["b"]
    assert queue.values("SELECT queue_name FROM pgqueue.leases") == [None]
    assert texts(fetched(fetcher, 10)) == ["a"]
    assert queue.value("SELECT count(*) FROM pgqueue.leases WHERE queue_name = 'a'") == 1
    limit(queue, standing, None)
    queue.send("more", queue_name="a")
    assert fetcher.worth_fetching(idle=False)
    assert texts(fetcher.fetch(10)) == ["more"]


def test_a_paused_or_quiet_worker_claims_none(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    limit(queue, standing, 1)
    queue.send("a", queue_name="a")
    fetcher = fetcher_for()
    for orders in (
        Orders(queues=frozenset({"a"}), limited=frozenset({"a"})),
        Orders(process="quiet", limited=frozenset({"a"})),
    ):
        standing.replace(orders)
        assert fetched(fetcher, 10) == []
    standing.replace(Orders(limited=frozenset({"a"})))
    assert texts(fetched(fetcher, 10)) == ["a"]


def test_while_another_claims_it_is_left_to_him_and_tried_again_soon(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    limit(queue, standing, 1)
    queue.send("a", queue_name="a")
    fetcher = fetcher_for()
    with closing(queue.connect()) as other, other.transaction():
        assert queue_limits.lock(other, queue.statements, queue_names=["a"])
        assert fetched(fetcher, 10) == []
        assert fetcher.limits.retry_at < time.monotonic() + 1.0

    def look() -> None:
        assert texts(fetcher.fetch_limited(10)) == ["a"]

    eventually(look, within_s=30.0)
    assert fetcher.limits.retry_at == float("inf")


@pytest.mark.parametrize("lost", [False, True], ids=["refused", "connection lost"])
def test_what_was_claimed_is_there_although_others_can_not_be_told_and_they_are_told_later(
    queue: Queue,
    standing: Standing,
    fetcher_for: Callable[[], Fetcher],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lost: bool,
) -> None:
    """What the claim has taken would be with nobody; and who is never told looks only each second."""
    limit(queue, standing, 5)
    queue.send(*"1234", queue_name="a")
    fetcher, wake, told = fetcher_for(), registers.wake, list[int]()

    def fail(conn: Connection, _: Statements, *, queue_names: set[str]) -> None:
        if lost:
            conn.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        raise psycopg.errors.OutOfMemory("out of shared memory")

    def tell(conn: Connection, statements: Statements, *, queue_names: set[str]) -> None:
        wake(conn, statements, queue_names=queue_names)
        told.append(len(told))

    monkeypatch.setattr(registers, "wake", fail)
    assert texts(fetched(fetcher, 1)) == ["1"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "Other workers can't be told of places in limited queues" in caplog.text
    monkeypatch.setattr(registers, "wake", tell)
    if lost:
        fetcher._leases.adopt(queue.owner())  # as the session does when it is asked for a name

    def look() -> None:
        fetched(fetcher, 1)
        fetcher.tell_of_room()
        assert told == [0]

    eventually(look, within_s=30.0)
    fetcher.tell_of_room()
    assert told == [0]


def test_places_are_told_of_to_those_alone_who_serve_the_queue(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    listener = queue.connect()
    listener.execute(f'LISTEN "{registers.channel(queue.database.schema)}"'.encode())
    limit(queue, standing, 5)
    queue.send(*"1234", queue_name="a")
    fetcher = fetcher_for()
    assert texts(fetched(fetcher, 1)) == ["1"]
    fetcher.limits.freed("a")
    fetcher.tell_of_room()
    told = [each.payload for each in listener.notifies(timeout=30.0, stop_after=2)]
    assert told == [f"idle_{registers.idle_cell('a')}"] * 2


def test_what_was_claimed_before_there_was_a_limit_counts(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    queue.send("1", "2", queue_name="a")
    queue.send("other", queue_name="b")
    fetcher = fetcher_for()
    before = fetcher.fetch(10)
    assert sorted(texts(before)) == ["1", "2", "other"]
    limit(queue, standing, 2)
    queue.send("3", queue_name="a")
    assert fetched(fetcher, 10) == []
    queue.settle([done(next(message for message in before if message.payload == b"1"))])
    assert texts(fetched(fetcher, 10)) == ["3"]
    assert fetched(fetcher, 10) == []


def test_long_after_that_nobody_looks_for_it(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    strays = queue_limits.strays

    def counting(*arguments: object, **options: object) -> int:
        asked.append("strays")
        return strays(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(queue_limits, "strays", counting)
    limit(queue, standing, 1)
    queue.conn.execute("UPDATE pgqueue.queue_limits SET limited_since = now() - interval '2 minutes'")
    fetcher = fetcher_for()
    for _ in range(3):
        fetched(fetcher, 10)
    assert len(asked) == 1
    queue.conn.execute("UPDATE pgqueue.queue_limits SET limited_since = now()")
    fetched(fetcher, 10)
    assert len(asked) == 2


def test_the_mark_goes_along_when_a_message_is_set_apart_or_its_slot_is_emptied(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    limit(queue, standing, 3)
    queue.send("1", "2", queue_name="a")
    (one, _) = fetched(fetcher_for(), 3)
    assert lease_rows.set_apart(queue.conn, queue.statements, message=one) is not None
    assert queue.values("SELECT DISTINCT queue_name FROM pgqueue.leases") == ["a"]
    slots.open_slot(queue.conn, queue.statements, slot=1)
    with queue.conn.transaction():
        slots.lock(queue.conn, queue.statements, slot=0)
        slots.evacuate(queue.conn, queue.statements, slot=0)
        slots.truncate(queue.conn, queue.statements, slot=0)
    assert queue.values("SELECT DISTINCT slot FROM pgqueue.leases") == [1]
    assert queue_limits.held(queue.conn, queue.statements, queue_name="a") == 2


def test_what_is_held_is_counted_at_a_cost_that_others_do_not_raise(queue: Queue) -> None:
    queue.conn.execute(
        """INSERT INTO pgqueue.leases (slot, owner, ids)
        SELECT 0, gen_random_uuid(), ARRAY[number] FROM generate_series(1, 5000) AS number"""
    )
    queue.conn.execute(
        "INSERT INTO pgqueue.leases (slot, owner, ids, queue_name) VALUES (0, gen_random_uuid(), '{1,2}', 'a')"
    )
    conn = queue.connect(enable_seqscan="off", plan_cache_mode="force_generic_plan")
    held, plan = explained(conn, lambda: queue_limits.held(conn, queue.statements, queue_name="a"))
    assert held == 2
    assert buffers(plan) <= 24


class TestLimits:
    def test_what_comes_during_a_look_is_not_taken_for_older(self, queue: Queue) -> None:
        limits = Limits()
        limits.serve({"a"})
        limits.lock(queue.conn, queue.statements, ["a"])
        limits.freed("a")
        assert not limits.claimed("a", 0, wanted=1, room=0)
        assert limits.due() == ["a"]
        limits.lock(queue.conn, queue.statements, ["a"])
        assert not limits.claimed("a", 0, wanted=1, room=0)
        assert limits.due() == []
        limits.wake()
        assert limits.due() == ["a"]

    def test_others_are_told_of_more_places_now_and_then(self, queue: Queue) -> None:
        limits = Limits()
        limits.serve({"a"})
        limits.lock(queue.conn, queue.statements, ["a"])
        assert limits.claimed("a", 1, wanted=1, room=5)
        assert not limits.claimed("a", 1, wanted=1, room=5)
        assert limits.due() == ["a"]

    def test_a_place_that_nobody_looked_at_is_told_of_once(self) -> None:
        limits = Limits()
        limits.serve({"a"})
        limits.freed("a")
        assert limits.take_freed() == {"a"}
        assert limits.take_freed() == set()

    def test_who_could_not_be_told_is_told_again_ever_more_rarely(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
        limits = Limits()
        assert limits.word() == set()
        limits.has_word({"a"})
        assert limits.word() == {"a"}
        assert limits.not_told() == 0.0
        assert limits.word() == {"a"}
        assert 0.05 <= limits.not_told() <= 0.1
        assert limits.word() == set()
        for _ in range(8):
            limits.not_told()
        assert 1.5 <= limits.not_told() <= 3.0
        limits.told()
        assert limits.word() == set()
        limits.has_word({"a"})
        monkeypatch.setattr(time, "monotonic", lambda: 1_004.0)
        assert limits.word() == {"a"}


def test_a_limited_queue_with_a_backlog_leaves_places_to_another(
    queue: Queue, standing: Standing, fetcher_for: Callable[[], Fetcher]
) -> None:
    """Else each thread that becomes free would be the backlog's again, for the place that it leaves is."""
    for queue_name in "ab":
        queue_limits.set_limit(queue.conn, queue.statements, queue_name=queue_name, at_once=4)
    standing.replace(Orders(limited=frozenset("ab")))
    queue.send(*["backlog"] * 30, queue_name="a")
    queue.send(*["other"] * 3, queue_name="b")
    fetcher = fetcher_for()
    held, claimed = fetched(fetcher, 2), list[str]()
    for _ in range(8):
        message = held.pop(0)
        queue.settle([done(message)])
        fetcher.limits.freed("a" if message.payload == b"backlog" else "b")
        held += (found := fetcher.fetch_limited(1))
        claimed += texts(found)
    assert claimed.count("other") == 3
    assert claimed.count("backlog") > 3


def test_queues_that_are_empty_or_full_come_after_those_with_a_backlog_until_they_are_called() -> None:
    """To look at one takes the server a millisecond; of two hundred, each time, it would take all there is."""
    limits = Limits()
    limits.serve(["backlog", "empty"])
    order = limits._in_turns
    assert limits.claimed("backlog", 1, wanted=1, room=1) is False
    assert order(["backlog", "empty"]) == ["empty", "backlog"]
    limits.claimed("empty", 0, wanted=1, room=4)
    assert order(["backlog", "empty"]) == ["backlog", "empty"]
    limits.wake(registers.idle_cell("empty"))
    limits.looks_at(["empty"])
    assert order(["backlog", "empty"]) == ["empty", "backlog"]
    limits.wake()
    limits.claimed("empty", 0, wanted=1, room=4)  # it was called while it was looked at
    limits.looks_at(["empty"])
    assert order(["backlog", "empty"]) == ["empty", "backlog"]
