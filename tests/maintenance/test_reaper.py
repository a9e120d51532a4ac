"""Whose messages are given to others, and whose not."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from pgqueue.engine.leases import Leases
from pgqueue.engine.presence import Presence
from pgqueue.maintenance import reaper
from pgqueue.maintenance.reaper import Reaper
from pgqueue.storage import retention, workers
from pgqueue.storage.database import Connection

from ..support.eventually import eventually
from ..support.queue import Queue, done


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reapers of this file believe from the start that the others had time to connect."""
    monkeypatch.setattr(reaper, "CALM_S", 0.0)


@contextmanager
def passing(queue: Queue) -> Iterator[Connection]:
    """A connection that is gone, with its locks, when the block ends: the server takes a moment for that."""
    with queue.connect() as conn:
        pid = conn.info.backend_pid
        yield conn

    def gone() -> None:
        assert queue.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid) == 0

    eventually(gone)


def age(queue: Queue, **by: float) -> None:
    """Let all heartbeats be older."""
    queue.conn.execute("UPDATE pgqueue.workers SET seen_at = seen_at - %s", (timedelta(**by),))


def run(queue: Queue, times: int = 1) -> list[float]:
    """Run a reaper on a connection of its own; return when it wanted to come again."""
    duty, conn = Reaper(queue.statements), queue.connect()
    return [duty.run_once(conn).in_s for _ in range(times)]


def test_nothing_happens_while_all_are_alive(queue: Queue) -> None:
    queue.send("one")
    queue.claimed(queue.owner())
    assert run(queue) == [reaper.INTERVAL_S]
    assert queue.ready() == []


def test_a_worker_whose_connection_is_gone_has_a_moment_to_come_back(queue: Queue) -> None:
    queue.send("one")
    with passing(queue) as its:
        queue.claimed(queue.owner(its))
    run(queue)
    assert queue.ready() == []
    age(queue, seconds=reaper.GRACE_S + 1)
    assert run(queue, times=2) == [0.0, reaper.INTERVAL_S]
    assert queue.ready() == ["one"]
    assert queue.value("SELECT count(*) FROM pgqueue.workers") == 0


def test_the_server_does_not_compile_what_takes_messages_back(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take seconds, each time, and behind a pooler the session can't forbid it."""
    queue.send("one")
    with passing(queue) as its:
        queue.claimed(queue.owner(its))
    age(queue, seconds=reaper.GRACE_S + 1)
    conn = queue.connect(jit="on")
    execute, found = conn.execute, []

    def look(query: Any, *args: Any, **kwargs: Any) -> Any:
        if query == queue.statements["messages/reclaim"]:
            found.append(execute("SHOW jit").fetchone())
        return execute(query, *args, **kwargs)

    monkeypatch.setattr(conn, "execute", look)
    Reaper(queue.statements).run_once(conn)
    assert queue.ready() == ["one"]
    assert found == [("off",)]


def test_a_worker_that_is_silent_is_left_alone_while_it_is_connected(queue: Queue) -> None:
    queue.send("one")
    queue.claimed(queue.owner(queue.connect()))
    age(queue, seconds=reaper.SILENT_S - 5)
    run(queue)
    assert queue.ready() == []


def test_a_worker_that_is_silent_for_very_long_is_lost_even_if_it_is_connected(queue: Queue) -> None:
    queue.send("one")
    (message,) = queue.claimed(queue.owner(queue.connect()))
    age(queue, seconds=reaper.SILENT_S + 1)
    run(queue)
    assert queue.ready() == ["one"]
    assert queue.settle([done(message)]) == set()


def test_after_an_outage_the_others_have_time_to_come_back(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were cut off for long, all heartbeats are old; who is back first must not take the others for lost."""
    queue.send("one")
    with passing(queue) as its:
        queue.claimed(queue.owner(its))
    duty, conn = Reaper(queue.statements), queue.connect()
    duty.run_once(conn)
    age(queue, seconds=reaper.SILENT_S + 1)
    monkeypatch.setattr(reaper, "CALM_S", 60.0)
    duty.reconnected()
    assert duty.run_once(queue.connect()).in_s == reaper.INTERVAL_S
    assert queue.ready() == []


def heard(queue: Queue, *ago_s: float) -> None:
    """Let there have been signs of life of workers so many seconds ago."""
    for each in ago_s:
        queue.owner()
        queue.conn.execute(
            "UPDATE pgqueue.workers SET seen_at = now() - %(ago)s, started_at = now() - %(ago)s - interval '1 hour' "
            "WHERE seen_at = (SELECT max(seen_at) FROM pgqueue.workers)",
            {"ago": timedelta(seconds=each)},
        )


INFINITE = float("inf")


@pytest.mark.parametrize(
    ("ago_s", "silence_s"),
    [
        ((8.0, 5.5, 3.0, 1.0), 2.5),
        ((7.5, 4.9, 2.4, 0.1), 2.6),
        ((0.1,), 3600.0),  # of all that are connected nobody may have been a second ago
        ((20.0, 10.0, 0.1), 9.9),  # an outage has just ended
        ((20.0, 3.0, 2.0, 0.1), 17.0),  # it ended three seconds ago
        ((9.0, 7.0), 7.0),  # nobody has come back yet
        ((605.0, 603.0, 601.0, 1.0, 0.5), 600.0),  # the clock has jumped by ten minutes
        ((8.0, 5.5, 3.0, 1.0, -60.0), INFINITE),  # it was put back
        ((), INFINITE),
    ],
)
def test_a_silence_that_may_have_been_an_outage_is_known(
    queue: Queue, ago_s: tuple[float, ...], silence_s: float
) -> None:
    heard(queue, *ago_s)
    found = workers.longest_silence(queue.conn, queue.statements, within_s=5.0)
    assert found == pytest.approx(silence_s, abs=0.4)


def test_a_new_worker_looks_at_once_if_others_had_time_to_connect(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody would ever look where each is killed within a few seconds."""
    monkeypatch.setattr(reaper, "CALM_S", 5.0)
    queue.send("one")
    with passing(queue) as its:
        queue.claimed(queue.owner(its))
    age(queue, seconds=reaper.SILENCE_S)
    with passing(queue) as its:
        queue.owner(its)
    age(queue, seconds=reaper.GRACE_S + 1)
    heard(queue, 4.0, 2.0)  # two seconds of silence
    duty = Reaper(queue.statements)
    duty.reconnected()  # as the listener says of its first connection, too
    conn = queue.connect()
    assert duty.run_once(conn).in_s == 0.0
    assert queue.ready() == ["one"]
    # Who was heard six seconds ago may have been cut off for two of them.
    assert duty.run_once(conn).in_s > 0.0
    age(queue, seconds=reaper.SILENCE_S)
    duty.reconnected()  # what has cut it off may have cut off the others
    assert duty.run_once(queue.connect()).in_s > 0.0
    assert queue.value("SELECT count(*) FROM pgqueue.workers") == 3


def test_a_new_worker_takes_nobody_for_lost_whom_a_dead_network_has_cut_off_from_a_server_that_others_reach(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Senders have been connected all along, and speak; of all the workers it is the first that comes back."""
    monkeypatch.setattr(reaper, "CALM_S", 0.2)
    queue.send("one")
    with passing(queue) as its:
        queue.claimed(queue.owner(its))
    queue.conn.execute(
        "UPDATE pgqueue.workers SET (started_at, seen_at) = (now() - interval '1 hour', now() - interval '30 s')"
    )
    queue.conn.execute("SET application_name = 'pgqueue'")

    def connected_for_long() -> None:
        mine = "SELECT now() - backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        assert queue.value(mine) > timedelta(seconds=0.2)

    eventually(connected_for_long)
    duty, conn = Reaper(queue.statements), queue.connect()
    queue.owner(conn)
    assert duty.run_once(conn).in_s > 0.0
    assert queue.ready() == []


@pytest.mark.parametrize("jump_s", [600.0, -600.0])
def test_a_jump_of_the_servers_clock_makes_nobody_lost(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    queue.send("one")
    queue.claimed(queue.owner(queue.connect()))
    duty, conn, now_s = Reaper(queue.statements), queue.connect(), retention.now_s
    duty.run_once(conn)
    age(queue, seconds=jump_s)
    monkeypatch.setattr(reaper, "CALM_S", 60.0)
    monkeypatch.setattr(retention, "now_s", lambda *any_: now_s(*any_) + jump_s)
    duty.run_once(conn)
    assert queue.ready() == []


def test_who_died_before_the_clock_was_put_back_is_found(queue: Queue) -> None:
    queue.send("one")
    with passing(queue) as its:
        queue.claimed(queue.owner(its))
    age(queue, seconds=-600.0)
    run(queue)
    assert queue.ready() == ["one"]


def test_a_process_never_declares_itself_lost(queue: Queue) -> None:
    """Its own lock is always to be had: advisory locks can be taken twice by one session. Stopped and continued, it
    finds its heartbeat old before it has had time to renew it."""
    queue.send("one")
    conn, leases = queue.connect(), Leases()
    presence = Presence(queue.statements, leases, threads=1, board=None)
    presence.run_once(conn)
    owner = leases.current()
    assert owner is not None
    (message,) = queue.claimed(owner)
    age(queue, seconds=reaper.GRACE_S + 1)
    Reaper(queue.statements, own=leases.names).run_once(conn)
    presence.run_once(conn)
    assert leases.current() == owner
    assert queue.settle([done(message)]) == {message.id}


def test_a_worker_that_comes_back_too_late_learns_that_it_was_lost(queue: Queue) -> None:
    queue.send("one")
    leases, its = Leases(), queue.connect()
    presence = Presence(queue.statements, leases, threads=1, board=None)
    presence.run_once(its)
    first = leases.current()
    assert first is not None
    queue.claimed(first)
    its.close()
    age(queue, seconds=reaper.GRACE_S + 1)
    run(queue)
    presence.reconnected()
    presence.run_once(queue.connect())
    assert leases.current() not in {first, None}
    assert first not in leases.names()


def test_two_reapers_give_a_message_back_once(queue: Queue) -> None:
    queue.send("one")
    with passing(queue) as its:
        queue.claimed(queue.owner(its))
    age(queue, seconds=reaper.GRACE_S + 1)
    with queue.connect() as slow, slow.transaction():
        assert workers.find_lost(slow, queue.statements, grace_s=0.0, silent_s=60.0) is not None
        assert run(queue) == [reaper.INTERVAL_S]
    run(queue)
    assert queue.ready() == ["one"]


def test_leases_of_somebody_who_is_not_registered_are_found(queue: Queue) -> None:
    """A claim that was under way on the server while its worker was declared lost."""
    queue.send("one")
    owner = queue.owner()
    queue.claimed(owner)
    workers.remove(queue.conn, queue.statements, owner=owner)
    run(queue, times=2 * reaper.UNOWNED_EVERY)
    assert queue.ready() == []
    queue.conn.execute("UPDATE pgqueue.leases SET claimed_at = claimed_at - interval '1 minute'")
    run(queue, times=2 * reaper.UNOWNED_EVERY)
    assert queue.ready() == ["one"]
    assert queue.claimed(queue.owner())[0].attempts == 0


def test_they_are_found_by_a_worker_that_lives_for_one_look_only(queue: Queue) -> None:
    queue.send("one")
    owner = queue.owner()
    queue.claimed(owner)
    workers.remove(queue.conn, queue.statements, owner=owner)
    queue.conn.execute("UPDATE pgqueue.leases SET claimed_at = claimed_at - interval '1 minute'")
    run(queue)
    assert queue.ready() == ["one"]


def test_they_are_found_within_fifteen_seconds() -> None:
    assert reaper.GRACE_S + (reaper.UNOWNED_EVERY + 1) * reaper.INTERVAL_S < 15


@pytest.mark.parametrize("losses", [reaper.MAX_ATTEMPTS])
def test_a_message_that_loses_its_worker_again_and_again_is_given_up(queue: Queue, losses: int) -> None:
    queue.send("poison")
    for loss in range(losses):
        with passing(queue) as its:
            assert [m.attempts for m in queue.claimed(queue.owner(its))] == [loss]
        age(queue, seconds=reaper.GRACE_S + 1)
        run(queue)
    assert queue.ready() == []
    reason, error = queue.conn.execute("SELECT reason, error FROM pgqueue.dead_letters").fetchall()[0]
    assert reason == "poison"
    assert f"lost {losses} times" in error
    assert "process 1 on here" in error


def test_an_urgent_message_is_charged_before_others_that_were_claimed_with_it(queue: Queue) -> None:
    """It started first, although it was sent last: else a poison message would bury those that wait behind it."""
    queue.send("first", "second", priority=5)
    queue.send("urgent", priority=0)
    with passing(queue) as its:
        queue.claimed(queue.owner(its, threads=1))
    age(queue, seconds=reaper.GRACE_S + 1)
    run(queue)
    attempts = {bytes(m.payload): m.attempts for m in queue.claimed(queue.owner())}
    assert attempts == {b"urgent": 1, b"first": 0, b"second": 0}


@pytest.mark.slow
def test_sixteen_thousand_messages_of_a_dead_worker_are_returned_in_their_order(queue: Queue) -> None:
    payloads = [str(number) for number in range(16_000)]
    queue.send(*payloads)
    with passing(queue) as its:
        assert len(queue.claimed(queue.owner(its), limit=16_000)) == 16_000
    assert queue.ready() == []
    age(queue, seconds=reaper.GRACE_S + 1)
    run(queue, times=2)
    assert queue.ready() == payloads
