"""When delayed messages become ready, and what it costs to look for them."""

from __future__ import annotations

import pytest

from pgqueue.maintenance import promoter
from pgqueue.maintenance.promoter import Promoter
from pgqueue.storage import registers
from pgqueue.storage.database import Connection

from ..support.eventually import eventually
from ..support.queue import Queue


@pytest.fixture
def duty(queue: Queue) -> Promoter:
    return Promoter(queue.statements)


def wait_until_due(queue: Queue) -> None:
    """Wait until everything that is scheduled is due."""

    def look() -> None:
        assert queue.value("SELECT count(*) FROM pgqueue.scheduled WHERE due_at > clock_timestamp()") == 0

    eventually(look)


def settle_down(duty: Promoter, conn: Connection, *, within: int = 30) -> int:
    """Run until the duty wants to rest; return how many runs that took."""
    for number in range(1, within + 1):
        if duty.run_once(conn).in_s > 0:
            return number
    raise AssertionError("the promoter does not come to rest")


def test_a_delayed_message_can_be_claimed_when_it_is_due_and_not_before(queue: Queue, duty: Promoter) -> None:
    queue.send("later", delay_ms=300)
    queue.send("now")
    assert 0 < duty.run_once(queue.conn).in_s <= 0.3
    assert queue.ready() == ["now"]

    def look() -> None:
        duty.run_once(queue.conn)
        assert queue.ready() == ["now", "later"]

    eventually(look)
    assert queue.value("SELECT count(*) FROM pgqueue.scheduled") == 0


def test_what_is_not_due_yet_stays_behind_when_others_are(queue: Queue, duty: Promoter) -> None:
    queue.send_all([queue.new("due", delay_ms=1), queue.new("later", delay_ms=60_000)])

    def look() -> None:
        duty.run_once(queue.conn)
        assert queue.ready() == ["due"]

    eventually(look)
    settle_down(duty, queue.conn)
    assert queue.ready() == ["due"]
    assert queue.values("SELECT payload FROM pgqueue.scheduled") == [b"later"]


def test_the_longest_nap_is_a_second(queue: Queue, duty: Promoter) -> None:
    settle_down(duty, queue.conn)
    assert duty.run_once(queue.conn).in_s == promoter.NAP_S
    queue.send("later", delay_ms=3_600_000)
    assert duty.run_once(queue.conn).in_s == promoter.NAP_S


def test_due_messages_become_ready_in_the_order_of_their_times(queue: Queue, duty: Promoter) -> None:
    queue.send_all([queue.new(str(number), delay_ms=100 * number) for number in (3, 1, 2)])
    wait_until_due(queue)
    settle_down(duty, queue.conn)
    assert queue.ready() == ["1", "2", "3"]


def test_more_than_a_batch_is_promoted_batch_by_batch(queue: Queue, duty: Promoter) -> None:
    queue.send(*map(str, range(promoter.BATCH + 20)), delay_ms=300)
    wait_until_due(queue)
    assert duty.run_once(queue.conn).in_s == 0.0
    assert len(queue.ready()) == promoter.BATCH
    settle_down(duty, queue.conn)
    assert len(queue.ready()) == promoter.BATCH + 20


@pytest.mark.parametrize("youngest", [False, True])
def test_a_late_commit_is_promoted(queue: Queue, duty: Promoter, youngest: bool) -> None:
    """Whether or not the snapshot of the run that passed its time lists its transaction."""
    queue.lane()
    late = queue.connect()
    late.execute("BEGIN")
    if not youngest:
        late.execute("SELECT pg_current_xact_id()")
    queue.send("in time", delay_ms=150)
    queue.send("late", delay_ms=100, conn=late)
    wait_until_due(queue)
    settle_down(duty, queue.conn)
    assert queue.ready() == ["in time"]
    late.execute("COMMIT")
    settle_down(duty, queue.conn)
    assert queue.ready() == ["in time", "late"]


def test_it_comes_to_rest_while_others_write_all_the_time(queue: Queue, duty: Promoter) -> None:
    """Each look sees other undecided transactions; none of them can bring anything behind the position."""
    others = [queue.connect() for _ in range(3)]
    for other in others:
        other.execute("BEGIN")
        other.execute("SELECT pg_current_xact_id()")
    queue.send("one", delay_ms=100)
    wait_until_due(queue)
    duty.run_once(queue.conn)
    assert queue.ready() == ["one"]
    naps: list[float] = []
    # On a server that others use, too, what was undecided at the promotion may end later than ours.
    for number in range(100):
        other = others[number % 3]
        other.execute("COMMIT")
        other.execute("BEGIN")
        other.execute("SELECT pg_current_xact_id()")
        queue.conn.execute("SELECT pg_current_xact_id()")
        naps.append(duty.run_once(queue.conn).in_s)
        if naps[-5:] == [promoter.NAP_S] * 5:
            break
    assert naps[-5:] == [promoter.NAP_S] * 5


def test_two_promoters_promote_each_message_once(queue: Queue, duty: Promoter) -> None:
    queue.send(*map(str, range(50)), delay_ms=100)
    wait_until_due(queue)
    slow = queue.connect()
    slow.execute("BEGIN")
    Promoter(queue.statements).run_once(slow)
    duty.run_once(queue.conn)
    slow.execute("COMMIT")
    settle_down(duty, queue.conn)
    assert sorted(map(int, queue.ready())) == list(range(50))


def test_what_a_failed_promoter_left_is_found_in_the_end(
    queue: Queue, duty: Promoter, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.send("one", "two", delay_ms=100)
    wait_until_due(queue)
    slow = queue.connect()
    slow.execute("BEGIN")
    Promoter(queue.statements).run_once(slow)
    assert duty.run_once(queue.conn).in_s == promoter.CONTENDED_S
    queue.send("three", delay_ms=100)
    wait_until_due(queue)
    settle_down(duty, queue.conn)
    slow.execute("ROLLBACK")
    settle_down(duty, queue.conn)
    assert queue.ready() == ["three"]
    monkeypatch.setattr(duty, "_forget_at", 0.0)
    settle_down(duty, queue.conn)
    assert queue.ready() == ["three", "one", "two"]


def test_looking_costs_the_same_after_many_promotions_under_a_held_snapshot(
    queue: Queue, duty: Promoter
) -> None:
    holder = queue.connect()
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT pg_current_xact_id()")

    def promote(number: int) -> int:
        """Promote so many; return what a look costs then."""
        queue.send(*["x"] * number, delay_ms=300)
        wait_until_due(queue)
        settle_down(duty, queue.conn, within=number)
        plan = queue.value(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT id FROM pgqueue.scheduled WHERE (due_at, id) > (%s, %s) "
            "ORDER BY due_at, id LIMIT 1",
            *duty._after,
        )
        return int(plan[0]["Plan"]["Shared Hit Blocks"]) + int(plan[0]["Plan"]["Shared Read Blocks"])

    first = promote(10)
    assert promote(3 * promoter.BATCH) <= first + 3


def test_idle_workers_are_told_of_what_became_ready(queue: Queue, duty: Promoter) -> None:
    listener = queue.connect()
    listener.execute(f'LISTEN "{registers.channel(queue.database.schema)}"'.encode())
    queue.send("later", delay_ms=50)
    wait_until_due(queue)
    assert duty.run_once(queue.conn).in_s == 0.0
    assert list(listener.notifies(timeout=30.0, stop_after=1)) != []


def test_earlier_attempts_are_not_forgotten(queue: Queue, duty: Promoter) -> None:
    queue.send("later", delay_ms=50)
    queue.conn.execute("UPDATE pgqueue.scheduled SET attempts = 2")
    wait_until_due(queue)
    settle_down(duty, queue.conn)
    assert [message.attempts for message in queue.claimed(queue.owner())] == [2]
