"""No ack is lost, none is written twice, and none holds up the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgqueue.engine.acker import Acker, Settled
from pgqueue.engine.leases import Leases
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage import leases as leases_table, messages, slots
from pgqueue.storage.messages import ClaimedMessage, StoredResult, Verdict

from ..support.eventually import eventually
from ..support.queue import Queue, done


@pytest.fixture
def acker(queue: Queue, leases: Leases) -> Iterator[Acker]:
    started = Acker(queue.database, leases)
    started.start()
    yield started
    started.stop(5.0)
    assert not started.is_alive()


@pytest.fixture(params=[0, 2], ids=["at once", "although looking fails twice"])
def looks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The looks that the acker takes at the leases; the first ones fail, as where the server is out of locks."""
    find, looks = leases_table.find_leases, list[int]()

    def fail_first(*args: Any, **kwargs: Any) -> Any:
        looks.append(len(looks))
        if len(looks) <= request.param:
            raise psycopg.errors.OutOfMemory("out of shared memory")
        return find(*args, **kwargs)

    monkeypatch.setattr(leases_table, "find_leases", fail_first)
    yield looks
    assert len(looks) > request.param


def claim(queue: Queue, leases: Leases, number: int) -> list[ClaimedMessage]:
    queue.send(*(str(n) for n in range(number)))
    owner = leases.current()
    assert owner is not None
    claimed = queue.claimed(owner, limit=number)
    leases.add(claimed)
    return claimed


def submit(acker: Acker, *verdicts: Verdict) -> list[Verdict]:
    """Hand verdicts over and wait until they are durable; return those that were released."""
    released: list[Verdict] = []
    for verdict in verdicts:
        acker.submit(Settled(verdict, lambda _, verdict=verdict: released.append(verdict)))  # type: ignore[misc]
    assert acker.flush(10.0)
    return released


def outcomes(queue: Queue) -> list[int]:
    return sorted(queue.values("SELECT id FROM pgqueue.outcomes"))


def backend_of(queue: Queue, name: str) -> int:
    def look() -> int:
        pid = queue.value(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database()",
            name,
        )
        assert pid is not None
        return int(pid)

    return eventually(look)


def test_what_many_threads_finish_is_written_and_released(queue: Queue, leases: Leases, acker: Acker) -> None:
    claimed = claim(queue, leases, 200)
    released: list[int] = []
    parts = [claimed[start::8] for start in range(8)]

    def finish(part: list[ClaimedMessage]) -> None:
        for message in part:
            acker.submit(Settled(done(message), released.append))

    threads = [threading.Thread(target=finish, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert acker.flush(10.0)
    assert outcomes(queue) == [message.id for message in claimed]
    assert sum(released) == 200
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0
    assert [leases.lids(owner) for owner in leases.names()] == [[]]


def test_a_connection_killed_between_two_acks_is_replaced(queue: Queue, leases: Leases, acker: Acker) -> None:
    first, second, third = claim(queue, leases, 3)
    submit(acker, done(first))
    for message in (second, third):
        queue.value("SELECT pg_terminate_backend(%s)", backend_of(queue, "pgqueue acker"))
        submit(acker, done(message))
    assert outcomes(queue) == [first.id, second.id, third.id]


@pytest.mark.parametrize("committed", [True, False], ids=["after its commit", "before its commit"])
@pytest.mark.parametrize("number", [1, 3])
def test_a_group_whose_connection_broke_is_written_once(
    queue: Queue, leases: Leases, acker: Acker, monkeypatch: pytest.MonkeyPatch, committed: bool, number: int
) -> None:
    settle, breaks = messages.settle, iter([True])

    def break_once(conn: Any, *args: Any, **kwargs: Any) -> set[int]:
        if next(breaks, False):
            if committed:
                settle(conn, *args, **kwargs)
            conn.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return settle(conn, *args, **kwargs)

    monkeypatch.setattr(messages, "settle", break_once)
    claimed = claim(queue, leases, 4)
    verdicts = [done(message, status=None) for message in claimed[:number]]
    for verdict in verdicts:
        verdict.follow_ups = [queue.new(f"after {verdict.message.payload.decode()}")]
    assert submit(acker, *verdicts) == verdicts
    assert queue.ready() == [f"after {n}" for n in range(number)]
    submit(acker, *(done(message) for message in claimed[number:]))
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda verdict: setattr(verdict, "error", "a NUL: \0"),
        lambda verdict: setattr(verdict, "actor_name", "half a pair: \ud800"),
        lambda verdict: setattr(verdict, "results", [StoredResult("key", b"value", float("nan"))]),
        lambda verdict: setattr(verdict, "results", [StoredResult("k\0", b"value", 1.0)]),
        lambda verdict: setattr(verdict, "run_ms", 2**40),
    ],
    ids=[
        "text that can't be kept",
        "text that can't be encoded",
        "no time to live",
        "a bad key",
        "too long a run",
    ],
)
def test_what_cannot_be_recorded_is_a_dead_letter_and_holds_up_nobody(
    queue: Queue, leases: Leases, acker: Acker, spoil: Any, caplog: pytest.LogCaptureFixture
) -> None:
    claimed = claim(queue, leases, 5)
    verdicts = [done(message) for message in claimed]
    spoil(verdicts[2])
    with caplog.at_level(logging.CRITICAL):
        assert submit(acker, *verdicts) == verdicts
    assert outcomes(queue) == [message.id for message in claimed if message is not claimed[2]]
    letters = queue.conn.execute("SELECT reason, payload FROM pgqueue.dead_letters").fetchall()
    assert letters == [("unrecordable", b"2")]
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


@pytest.mark.usefixtures("looks")
def test_a_refused_verdict_is_told_and_changes_nothing(
    queue: Queue, leases: Leases, acker: Acker, caplog: pytest.LogCaptureFixture
) -> None:
    lost, *_ = claim(queue, leases, 2)
    messages.reclaim(
        queue.conn, queue.statements, owner=lost.lease.owner, threads=0, max_attempts=3, error=""
    )
    verdict = done(lost, results=[StoredResult("key", b"value", 1000)])
    verdict.follow_ups = [queue.new("follow-up")]
    with caplog.at_level(logging.ERROR, "pgqueue.engine.acker"):
        assert submit(acker, verdict) == [verdict]
    assert any(f"LeaseLost: message {verdict.message_id}" in text for text in caplog.messages)
    assert queue.ready() == ["0", "1"]
    assert outcomes(queue) == []
    assert queue.value("SELECT count(*) FROM pgqueue.results") == 0


def test_a_lease_that_was_moved_is_followed(
    queue: Queue, leases: Leases, acker: Acker, looks: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    claimed = claim(queue, leases, 3)
    submit(acker, done(claimed[0]))
    slots.open_slot(queue.conn, queue.statements, slot=1)
    for _ in range(2):
        Rotator(queue.statements, patience_s=-1.0).run_once(queue.conn)
    assert queue.slots() == [1]
    assert looks == []
    submit(acker, *(done(message) for message in claimed[1:]))
    assert not any(record.exc_info for record in caplog.records)
    assert outcomes(queue) == [message.id for message in claimed]
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def test_flush_tells_when_it_took_too_long(queue: Queue, leases: Leases, acker: Acker) -> None:
    (message,) = claim(queue, leases, 1)
    blocker = queue.connect()
    blocker.execute("BEGIN")
    blocker.execute("LOCK TABLE pgqueue.leases_0")
    acker.submit(Settled(done(message), lambda _: None))
    assert not acker.flush(0.2)
    blocker.execute("COMMIT")
    assert acker.flush(10.0)
    assert outcomes(queue) == [message.id]


def test_flush_waits_for_nobody_once_the_acker_has_ended(queue: Queue, leases: Leases, acker: Acker) -> None:
    (message,) = claim(queue, leases, 1)
    submit(acker, done(message))
    acker.stop(5.0)
    assert acker.flush(30.0)
    assert outcomes(queue) == [message.id]


def test_a_delayed_follow_up_is_announced_to_the_promoter(queue: Queue, leases: Leases, acker: Acker) -> None:
    delays: list[float] = []
    acker.on_delayed = delays.append
    (message,) = claim(queue, leases, 1)
    verdict = done(message, status=None)
    verdict.follow_ups = [queue.new("soon", delay_ms=500), queue.new("later", delay_ms=5000)]
    submit(acker, verdict)
    assert len(delays) == 1
    assert 0 < delays[0] <= 0.5
    assert queue.value("SELECT count(*) FROM pgqueue.scheduled") == 2
