"""A server that refuses one ack, with whatever words: the others are written, and who can't be is found."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from pgqueue.engine import group, session
from pgqueue.engine.acker import Acker, Settled
from pgqueue.engine.leases import Leases
from pgqueue.engine.session import Session
from pgqueue.storage.messages import StoredResult, Verdict

from ..support.eventually import eventually
from ..support.queue import Queue, done
from .test_acker import acker, claim, outcomes

__all__ = ["acker"]

#: A server that does something else with the result of one message.
REFUSING = """
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.key = 'bad' THEN {}; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgqueue.results FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""
RECOVERED = b"DROP TRIGGER refuse ON pgqueue.results"

#: It ends as one does that gets a gigabyte at once, or whose process is killed for its memory.
DIES = "PERFORM pg_terminate_backend(pg_backend_pid())"
RAISES = "RAISE EXCEPTION 'of the test'"
FULL = "RAISE EXCEPTION 'of the test' USING ERRCODE = 'disk_full'"
BUSY = "RAISE EXCEPTION 'of the test' USING ERRCODE = 'query_canceled'"
READ_ONLY = "RAISE EXCEPTION 'of the test' USING ERRCODE = 'read_only_sql_transaction'"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put off is tried again soon, however often it was."""
    monkeypatch.setattr(group, "RARELY_S", 0.1)


def hand_over(acker: Acker, *verdicts: Verdict) -> list[Verdict]:
    released: list[Verdict] = []
    for verdict in verdicts:
        acker.submit(Settled(verdict, lambda _, verdict=verdict: released.append(verdict)))  # type: ignore[misc]
    return released


def refused(verdict: Verdict) -> Verdict:
    verdict.results = [StoredResult("bad", b"value", 1e6)]
    return verdict


@pytest.mark.parametrize("words", [DIES, RAISES, FULL, BUSY, READ_ONLY])
def test_the_others_are_written_and_it_is_too_once_the_server_takes_it(
    queue: Queue, leases: Leases, acker: Acker, words: str
) -> None:
    """All acks of the process waited for it, for ever, and those that came later."""
    claimed = claim(queue, leases, 6)
    queue.conn.execute(REFUSING.format(words).encode(), prepare=False)
    verdicts = [done(message) for message in claimed]
    bad = refused(verdicts[2])
    good = [verdict.message.id for verdict in verdicts if verdict is not bad]
    released = hand_over(acker, *verdicts[:5])

    def written(ids: list[int]) -> None:
        assert outcomes(queue) == ids
        assert sorted(verdict.message.id for verdict in released) == ids

    eventually(lambda: written(good[:-1]), within_s=30.0)
    released += submit_without_waiting(queue, acker, verdicts[5])
    assert not acker.flush(0.01)
    assert bad not in released
    queue.conn.execute(RECOVERED)
    assert acker.flush(30.0)
    written([message.id for message in claimed])
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0
    assert queue.values("SELECT key FROM pgqueue.results") == ["bad"]


def submit_without_waiting(queue: Queue, acker: Acker, verdict: Verdict) -> list[Verdict]:
    """Hand over a verdict and wait until it is written, though others may not be."""
    released = hand_over(acker, verdict)

    def written() -> None:
        assert verdict.message.id in outcomes(queue)
        assert released == [verdict]

    eventually(written, within_s=30.0)
    return released


def test_what_is_sent_with_an_ack_waits_where_somebody_has_moved_the_register(
    queue: Queue, leases: Leases, acker: Acker
) -> None:
    """Its message was buried as if it were for a value of its own."""
    first, *others = claim(queue, leases, 5)
    queue.value("SELECT setval('pgqueue.open_slot', 21)")
    sending = done(first)
    sending.follow_ups = [queue.new("follow-up")]
    released = hand_over(acker, sending)
    for message in others:
        submit_without_waiting(queue, acker, done(message))
    assert released == []
    queue.value("SELECT setval('pgqueue.open_slot', 0)")
    assert acker.flush(30.0)
    assert released == [sending]
    assert queue.ready() == ["follow-up"]
    assert queue.values("SELECT reason FROM pgqueue.dead_letters") == []


@pytest.mark.parametrize("words", [DIES, RAISES])
def test_who_alone_is_never_written_goes_to_the_dead_letters(
    queue: Queue, leases: Leases, acker: Acker, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = claim(queue, leases, 30)
    queue.conn.execute(REFUSING.format(words).encode(), prepare=False)
    bad = refused(done(first))
    released = hand_over(acker, bad)
    for message in others:
        submit_without_waiting(queue, acker, done(message))
        if acker.flush(0.3):
            break
    assert released == [bad]
    assert queue.values("SELECT reason FROM pgqueue.dead_letters") == ["unrecordable"]
    assert any(
        f"What became of message {bad.message_id} can't be recorded" in text for text in caplog.messages
    )


def test_it_is_nobodys_fault_that_the_disk_is_full(queue: Queue, leases: Leases, acker: Acker) -> None:
    first, *others = claim(queue, leases, 12)
    queue.conn.execute(REFUSING.format(FULL).encode(), prepare=False)
    released = hand_over(acker, refused(done(first)))
    for message in others:
        submit_without_waiting(queue, acker, done(message))
    assert released == []
    assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0
    queue.conn.execute(RECOVERED)
    assert acker.flush(30.0)
    assert len(outcomes(queue)) == 12


def test_who_stops_meanwhile_waits_no_longer_than_he_wants_to(
    queue: Queue, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    """Its lease is there: the message runs again."""
    bad, good = (done(message) for message in claim(queue, leases, 2))
    queue.conn.execute(REFUSING.format(FULL).encode(), prepare=False)
    acker = Acker(queue.database, leases)
    acker.start()
    released = hand_over(acker, refused(bad), good)
    eventually(lambda: _equal(released, [good]), within_s=30.0)
    flushed = threading.Thread(target=acker.flush)
    flushed.start()
    acker.stop(0.2)
    acker.join(30.0)
    flushed.join(30.0)
    assert not acker.is_alive()
    assert not flushed.is_alive()
    assert outcomes(queue) == [good.message.id]
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 1
    assert any("could not be written within" in text for text in caplog.messages)


def test_who_waits_for_a_lock_holds_up_the_others_for_seconds(
    queue: Queue, leases: Leases, acker: Acker
) -> None:
    """Whole groups were tried again and again, ten seconds each time, and all acks that came later waited for them."""
    good, bad, late = (done(claim(queue, leases, 1)[0]) for _ in range(3))
    locker = queue.connect()
    with locker.transaction():
        locker.execute("SELECT FROM pgqueue.leases WHERE lid = %s FOR UPDATE", (bad.message.lease.lid,))
        released = hand_over(acker, good, bad, late)
        eventually(lambda: _equal(released, [good, late]), within_s=25.0)
        assert outcomes(queue) == [good.message.id, late.message.id]
    assert acker.flush(30.0)
    assert released == [good, late, bad]
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def _equal(found: object, expected: object) -> None:
    assert found == expected


def test_what_ran_and_is_not_written_by_the_end_is_charged_and_its_neighbours_are_not(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs again: whoever looks for a message that is never acknowledged finds that it had run."""
    monkeypatch.setattr(session, "LAST_ACKS_S", 1.0)
    with closing(Session(queue.database, threads=1)) as opened:
        opened.open()
        first, second, third = claim(queue, opened.leases, 3)
        queue.conn.execute(REFUSING.format(FULL).encode(), prepare=False)
        opened.submit(refused(done(first)), lambda _: None)
        opened.submit(done(second), lambda _: None)

        def second_is_written() -> None:
            assert outcomes(queue) == [second.id]

        eventually(second_is_written)
    again = {message.payload: message.attempts for message in queue.claimed(queue.owner())}
    assert again == {first.payload: 1, third.payload: 0}
    assert queue.values("SELECT error FROM pgqueue.attempts") == [
        "its worker ended before its ack could be written"
    ]
