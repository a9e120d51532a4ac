"""A claim costs the same after any number of messages, whatever is held open all the while; and space comes back.

With PGQUEUE_FLATNESS=full through a million messages.
"""

from __future__ import annotations

import pytest

from ..support.queue import Queue
from .flat import Consumer, check_flat, large, ring_bytes

#: With the drills, too: `make drills` knows how much of each is wanted.
pytestmark = pytest.mark.drill

#: What is held through all the messages: by an application that forgets to commit, and by pg_dump.
HOLDS = {
    "an idle writer": "SELECT pg_current_xact_id()",
    "a dump": "SELECT count(*) FROM pgqueue.messages, pgqueue.ready, pgqueue.leases",
}

#: Messages, of a slot and altogether: in every run, and in large ones.
SLOT, TOTAL = large(60_000, otherwise=3_000), large(1_000_000, otherwise=15_000)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("hold", HOLDS)
def test_claims_stay_flat_whatever_holds_a_snapshot(queue: Queue, hold: str) -> None:
    holder = queue.connect()
    holder.execute("SET idle_in_transaction_session_timeout = 0")  # it takes minutes on a busy machine
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    holder.execute(HOLDS[hold].encode())
    consumer = Consumer(queue, slot=SLOT)

    consumer.consume(TOTAL)

    check_flat(consumer.costs)
    held = ring_bytes(queue)
    holder.execute("COMMIT")
    consumer.rotate()
    left = ring_bytes(queue)
    print(f"{held / 1e6:.1f} MB while {hold} held on, {left / 1e6:.1f} MB after")
    # A dump's locks keep slots from being emptied; what it never locks, or has let go of, is back at once.
    assert left < SLOT * 3 * 400
    if hold == "an idle writer":
        assert held < SLOT * 3 * 400


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_claims_stay_flat_beside_an_application_that_is_slow_to_commit_what_it_sent(queue: Queue) -> None:
    application = queue.connect()
    application.execute("BEGIN")
    queue.send("late", conn=application)
    consumer = Consumer(queue, slot=SLOT)

    consumer.consume(TOTAL)

    check_flat(consumer.costs)
    assert consumer.claim() == []
    application.execute("COMMIT")
    (late,) = consumer.claim()
    assert late.payload == b"late"
    consumer.settle([late])
    consumer.rotate()
    assert ring_bytes(queue) < SLOT * 3 * 400
