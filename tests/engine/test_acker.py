"""No ack is lost, none is written twice, and none holds up the others."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from pgqueue.engine.acker import MOST_REFUSALS, Acker, Settled
from pgqueue.engine.backoff import Backoff
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


#: A table of the server that refuses a message's dead letter, whatever its reason.
REFUSING = b"""
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = 'check_violation'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgqueue.dead_letters FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""


def test_what_cannot_even_be_a_dead_letter_is_named_and_holds_up_nobody(
    queue: Queue, leases: Leases, acker: Acker, caplog: pytest.LogCaptureFixture
) -> None:
    """Those after it had been dropped with it, and nothing of the group was counted off."""
    claimed = claim(queue, leases, 5)
    queue.conn.execute(REFUSING, prepare=False)
    verdicts = [done(message) for message in claimed]
    verdicts[2].error = "a NUL: \0"
    verdicts[4].follow_ups = [queue.new("later", delay_ms=500)]
    delays: list[float] = []
    acker.on_delayed = delays.append
    assert submit(acker, *verdicts) == verdicts
    assert outcomes(queue) == [message.id for message in claimed if message is not claimed[2]]
    (told,) = (text for text in caplog.messages if "could not be written" in text)
    assert told.startswith(f"The ack of message {verdicts[2].message_id} ")
    assert "refused by the test" in told
    assert not any(record.exc_info for record in caplog.records)
    assert len(delays) == 1
    assert claimed[0].lease.left == 1
    # Its worker has it until it ends.
    assert [leases.lids(owner) for owner in leases.names()] == [[claimed[0].lease.lid]]
    (more,) = claim(queue, leases, 1)
    submit(acker, done(more))
    assert more.id in outcomes(queue)


#: A server that lets the first so many acks touch no lease, as if each were moved at that moment.
EVADING = """
    CREATE SEQUENCE public.tries;
    CREATE FUNCTION public.evade() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('public.tries') <= {} THEN RETURN NULL; END IF;
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER evade BEFORE UPDATE OR DELETE ON pgqueue.leases_0 FOR EACH ROW EXECUTE FUNCTION public.evade();
"""


@pytest.mark.parametrize("times", [1, 4])
def test_who_is_refused_although_the_lease_is_there_tries_again_ever_more_rarely(
    queue: Queue,
    leases: Leases,
    acker: Acker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    times: int,
) -> None:
    (message,) = claim(queue, leases, 1)
    queue.conn.execute(EVADING.format(times).encode(), prepare=False)
    waits, next_s = list[float](), Backoff.next_s
    monkeypatch.setattr(Backoff, "next_s", lambda self: waits.append(next_s(self)) or waits[-1])  # type: ignore[func-returns-value]
    submit(acker, done(message))
    assert outcomes(queue) == [message.id]
    assert len(waits) == times - 1
    assert all(wait > 0 for wait in waits[1:])
    assert caplog.messages == []


def test_who_is_refused_again_and_again_is_given_up_and_named(
    queue: Queue, leases: Leases, acker: Acker, caplog: pytest.LogCaptureFixture
) -> None:
    """For ever it would hold up all acks that come after."""
    refused, other = claim(queue, leases, 1)[0], claim(queue, leases, 1)[0]
    queue.conn.execute(EVADING.format(MOST_REFUSALS + 1).encode(), prepare=False)
    verdict = done(refused)
    submit(acker, verdict)
    assert [text.split(" (")[0] for text in caplog.messages] == [f"The ack of message {verdict.message_id}"]
    submit(acker, done(other))
    assert outcomes(queue) == [other.id]
    assert [leases.lids(owner) for owner in leases.names()] == [[refused.lease.lid]]


#: A server whose acks take as long as the test holds a lock.
SLOW = b"""
    CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NEW; END $$;
    CREATE TRIGGER wait BEFORE INSERT ON pgqueue.outcomes FOR EACH ROW EXECUTE FUNCTION public.wait();
"""
WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'pgqueue acker' AND wait_event_type = 'Lock' AND datname = current_database()
"""


@pytest.mark.parametrize("number", [1, 3])
def test_what_a_lost_connection_commits_later_is_no_lost_lease(
    queue: Queue, leases: Leases, acker: Acker, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Its server writes on, for it does not know that nobody listens; the next attempt waits for it."""
    queue.conn.execute(SLOW, prepare=False)
    claimed = claim(queue, leases, 3)

    def waiting(backends: int) -> None:
        assert queue.value(WAITING) == backends

    assert acker.flush(30.0)
    with queue.connect() as slow:
        slow.execute("SELECT pg_advisory_lock(4711)")
        for message in claimed[:number]:
            acker.submit(Settled(done(message), lambda _: None))
        eventually(lambda: waiting(1), within_s=30.0)
        cut(acker)
        eventually(lambda: waiting(2), within_s=30.0)
    assert acker.flush(30.0)
    assert outcomes(queue) == [message.id for message in claimed[:number]]
    assert not any("LeaseLost" in text for text in caplog.messages)
    submit(acker, *(done(message) for message in claimed[number:]))
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def cut(acker: Acker) -> None:
    """End the acker's connection as the network does, unnoticed by the server, which is at work."""
    assert acker._conn is not None
    with socket.socket(fileno=os.dup(acker._conn.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


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
    assert lost.lease.left == 1


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
