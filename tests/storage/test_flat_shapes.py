"""What waits in the database makes neither claims nor sending nor promotion dearer, however much it is.

With PGQUEUE_FLATNESS=full 5,000,000 messages wait and 1,000,000 are scheduled.
"""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median

import pytest

from pgqueue.maintenance.promoter import BATCH
from pgqueue.storage import scheduled
from pgqueue.storage.database import Connection

from ..support.eventually import eventually
from ..support.plans import buffers, explained
from ..support.queue import Queue
from .flat import BATCH as SENT, CLAIM, FLAT, Consumer, check_flat, large

#: With the drills, too: `make drills` knows how much of each is wanted.
pytestmark = pytest.mark.drill

#: Rows written by one statement.
FILL = 5_000


def fill(queue: Queue, total: int, *, delay_ms: float | None = None) -> None:
    for _ in range(total // FILL):
        queue.send(*[b"x" * 100] * FILL, delay_ms=delay_ms)


def sending(queue: Queue, conn: Connection) -> float:
    """Buffers a message that sending a hundred touches."""
    _, plan = explained(conn, lambda: queue.send(*[b"x" * 100] * CLAIM, conn=conn))
    return buffers(plan) / CLAIM


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_backlog_makes_neither_claims_nor_sending_dearer(queue: Queue) -> None:
    slot, conn = large(60_000, otherwise=5_000), queue.connect()
    consumer = Consumer(queue, slot=slot)
    consumer.consume(3_000)
    sent = sending(queue, conn)
    before = len(consumer.costs)

    for _ in range(large(5_000_000, otherwise=20_000) // FILL):
        fill(queue, FILL)
        consumer.rotate()
    for _ in range(before):
        claimed = consumer.look()
        assert len(claimed) == CLAIM
        consumer.settle(claimed)

    check_flat(consumer.costs)
    assert sending(queue, conn) <= sent * FLAT


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_scheduled_messages_make_neither_claims_nor_promotion_dearer(queue: Queue) -> None:
    consumer, conn = Consumer(queue, slot=50_000), queue.connect(enable_seqscan="off")
    consumer.consume(3_000)
    before = len(consumer.costs)
    start = (datetime(1970, 1, 1, tzinfo=UTC), 0)

    def promotion() -> float:
        """Buffers a message that promoting a hundred touches, which have just come due, with room for more."""
        queue.send(*[b"x" * 100] * CLAIM, delay_ms=500)
        eventually(all_due)
        promoted, plan = explained(
            conn, lambda: scheduled.promote(conn, queue.statements, after=start, xids=(), limit=BATCH)
        )
        assert promoted.promoted == CLAIM
        claimed = consumer.look()
        assert len(claimed) == CLAIM
        consumer.settle(claimed)
        return buffers(plan) / CLAIM

    def all_due() -> None:
        due = queue.value("SELECT count(*) FROM pgqueue.scheduled WHERE due_at <= clock_timestamp()")
        assert due == CLAIM

    promotion()  # the plan of the first is made without rows
    few = promotion()
    fill(queue, large(1_000_000, otherwise=20_000), delay_ms=3_600_000)
    many = promotion()
    print(f"{few:.2f} buffers a promoted message with none scheduled, {many:.2f} with many")
    assert many <= few * FLAT
    consumer.consume(before * 1_000)
    check_flat(consumer.costs)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "lanes",
    [
        [(f"queue{number}", 0) for number in range(200)],
        [("default", number) for number in range(20)],
        pytest.param(
            [(f"queue{number}", level) for number in range(200) for level in range(20)],
            marks=pytest.mark.long,
        ),
    ],
    ids=["queues", "priorities", "queues times priorities"],
)
def test_claims_from_many_lanes_stay_flat_under_a_held_snapshot(
    queue: Queue, lanes: list[tuple[str, int]]
) -> None:
    holder = queue.connect()
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT pg_current_xact_id()")

    def send(number: int) -> None:
        spread = (lanes[n % len(lanes)] for n in range(number))
        queue.send_all([queue.new(b"x" * 100, queue_name=name, priority=level) for name, level in spread])

    consumer = Consumer(queue, slot=5_000, send=send)
    consumer.consume(large(300_000, otherwise=12_000))

    check_flat(consumer.costs)
    # A lane that holds nothing new costs a probe of the index in each slot that is not emptied yet. No claim costs
    # more: one that went over what others have taken would cost most just before the slot is emptied.
    assert max(consumer.costs) <= 6 + 3 * 3 * len(lanes) / CLAIM


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "plans", ["auto", pytest.param("force_custom_plan", marks=pytest.mark.long), "force_generic_plan"]
)
def test_claims_stay_flat_whatever_the_statistics_say(queue: Queue, plans: str) -> None:
    """With none, with those of empty tables, with those of full ones that were emptied since, one after the other."""
    total = large(100_000, otherwise=2_000)
    consumer = Consumer(queue, slot=large(60_000, otherwise=1_000), plans=plans)
    consumer.consume(total)
    without = median(consumer.costs)
    consumer.rotate()
    queue.conn.execute("ANALYZE")
    consumer.consume(total)
    assert median(consumer.costs[-total // SENT :]) <= without * FLAT
    fill(queue, FILL)
    queue.conn.execute("ANALYZE")
    while claimed := consumer.claim():
        consumer.settle(claimed)
    consumer.rotate()
    consumer.consume(total)
    assert median(consumer.costs[-total // SENT :]) <= without * FLAT

    check_flat(consumer.costs)
