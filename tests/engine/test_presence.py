"""The names of a process: taken, locked, renewed, retired."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from pgqueue.engine.leases import Leases
from pgqueue.engine.presence import Presence
from pgqueue.storage import workers

from ..support.queue import Queue, done


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def presence(queue: Queue, leases: Leases) -> Presence:
    made = Presence(queue.statements, leases, threads=3, board=None)
    made.run_once(queue.conn)
    return made


def current(leases: Leases) -> UUID:
    owner = leases.current()
    assert owner is not None
    return owner


def registered(queue: Queue) -> set[UUID]:
    return set(queue.values("SELECT owner FROM pgqueue.workers"))


def test_a_name_is_registered_and_locked_before_anything_is_claimed(
    queue: Queue, leases: Leases, presence: Presence
) -> None:
    owner = current(leases)
    assert registered(queue) == {owner}
    with queue.connect() as other:
        row = other.execute("SELECT pg_try_advisory_lock(%s)", (workers.lock_key(owner),)).fetchone()
        assert row == (False,)


def test_its_heartbeat_is_renewed(queue: Queue, leases: Leases, presence: Presence) -> None:
    queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() - interval '1 hour'")
    presence.run_once(queue.conn)
    assert queue.value("SELECT now() - seen_at < interval '1 minute' FROM pgqueue.workers")


def test_after_a_lost_connection_its_locks_are_taken_again(
    queue: Queue, leases: Leases, presence: Presence
) -> None:
    owner = current(leases)
    queue.value("SELECT pg_advisory_unlock_all()")
    presence.reconnected()
    presence.run_once(queue.conn)
    assert current(leases) == owner
    with queue.connect() as other:
        row = other.execute("SELECT pg_try_advisory_lock(%s)", (workers.lock_key(owner),)).fetchone()
        assert row == (False,)


def test_an_old_name_gives_back_what_nobody_here_has_heard_of(
    queue: Queue, leases: Leases, presence: Presence
) -> None:
    """Two claims of a fetcher were committed; the answer to the second was lost with its connection."""
    queue.send("heard of", "unheard of")
    owner = current(leases)
    known = queue.claimed(owner, limit=1)
    leases.add(known)
    queue.claimed(owner, limit=1)
    leases.renounce()
    presence.run_once(queue.conn)
    assert registered(queue) == {owner, current(leases)}
    assert queue.ready() == ["unheard of"]
    assert queue.claimed(current(leases))[0].attempts == 0
    queue.settle([done(message) for message in known], closes=True)
    leases.count_off(known)
    leases.drop(known)
    presence.run_once(queue.conn)
    assert registered(queue) == {current(leases)}
    assert leases.old_names() == []


def test_a_process_that_leaves_gives_back_everything_uncharged(
    queue: Queue, leases: Leases, presence: Presence
) -> None:
    queue.send("one", "two")
    leases.add(queue.claimed(current(leases)))
    presence.leave(queue.conn)
    assert registered(queue) == set()
    assert queue.ready() == ["one", "two"]
    assert [message.attempts for message in queue.claimed(queue.owner())] == [0, 0]


def test_a_name_that_was_declared_lost_is_never_used_again(
    queue: Queue, leases: Leases, presence: Presence, caplog: pytest.LogCaptureFixture
) -> None:
    lost = current(leases)
    workers.remove(queue.conn, queue.statements, owner=lost)
    presence.run_once(queue.conn)
    assert current(leases) != lost
    assert any(str(lost) in text and "declared lost" in text for text in caplog.messages)


def test_a_session_of_ours_that_the_server_still_believes_in_is_ended_for_its_lock(
    queue: Queue, leases: Leases, presence: Presence
) -> None:
    owner = current(leases)
    pid = queue.conn.info.backend_pid
    presence.reconnected()
    with queue.connect(statement_timeout="5s") as other:
        presence.run_once(other)
        assert leases.current() == owner
        rows = other.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted").fetchall()
        assert (other.info.backend_pid,) in rows
        assert (pid,) not in rows
        queue.conn = other
        assert registered(queue) == {owner}


def test_a_session_of_somebody_else_is_left_alone(queue: Queue, leases: Leases, presence: Presence) -> None:
    queue.value("SELECT pg_advisory_unlock_all()")
    presence.reconnected()
    with queue.connect() as holder, queue.connect(lock_timeout="100ms") as other:
        holder.execute("SELECT pg_advisory_lock(%s)", (workers.lock_key(current(leases)),))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            presence.run_once(other)
        assert holder.execute("SELECT 1").fetchone() == (1,)


def test_who_leaves_with_nothing_in_hand_does_not_take_back(
    queue: Queue, leases: Leases, presence: Presence
) -> None:
    # To take back is by far the dearest statement of a stop: it is compiled for all tables of messages.
    presence.leave(queue.conn)
    prepared = queue.values("SELECT statement FROM pg_prepared_statements")
    assert not [each for each in prepared if "attempted AS" in each]
    assert registered(queue) == set()
