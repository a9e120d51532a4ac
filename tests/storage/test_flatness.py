"""A claim costs the same after any number of messages, with a snapshot held all the while; and space comes back."""

from __future__ import annotations

from statistics import median

import pytest

from pgqueue.engine.acker import SETTINGS as ACKER
from pgqueue.engine.fetcher import SETTINGS as FETCHER
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage.messages import ClaimedMessage
from pgqueue.storage.positions import Positions

from ..support.plans import buffers, explained
from ..support.queue import Queue, done

#: The most that a claim may cost at the end, compared with the beginning.
FLAT = 1.3

BATCH, CLAIM = 1_000, 100


def ring_bytes(queue: Queue) -> int:
    return int(
        queue.value(
            r"""SELECT sum(pg_total_relation_size(oid)) FROM pg_class
            WHERE relnamespace = 'pgqueue'::regnamespace AND relkind = 'r'
                AND relname ~ '^(messages|ready|leases)_\d'"""
        )
    )


def consume(queue: Queue, total: int, *, slot: int) -> list[float]:
    """Send, claim and settle so many messages; return what claims cost on the way, in buffers a message."""
    conn, acks = queue.connect(**FETCHER), queue.connect(**ACKER)
    rotator, positions, owner = Rotator(queue.statements, max_messages=slot), Positions(), queue.owner()
    costs: list[float] = []
    consumed = 0
    while consumed < total:
        queue.send(*[b"x" * 200] * BATCH)
        rotator.run_once(queue.conn)
        for part in range(BATCH // CLAIM):

            def claim() -> list[ClaimedMessage]:
                return queue.claimed(owner, limit=CLAIM, conn=conn, positions=positions)

            if part == BATCH // CLAIM // 2:
                claimed, plan = explained(conn, claim)
                costs.append(buffers(plan) / CLAIM)
            else:
                claimed = claim()
            assert len(claimed) == CLAIM
            queue.settle([done(message) for message in claimed], closes=True, conn=acks)
            consumed += CLAIM
    return costs


def check(queue: Queue, total: int, *, slot: int, most_bytes: int) -> None:
    holder = queue.connect()
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT pg_current_xact_id()")
    costs = consume(queue, total, slot=slot)
    some = max(3, len(costs) // 5)
    first, last = median(costs[:some]), median(costs[-some:])
    print(
        f"{total} messages: {first:.2f} buffers a message at first, {last:.2f} in the end, {max(costs):.2f} at most"
    )
    assert last <= first * FLAT
    assert max(costs) <= first * 3
    assert ring_bytes(queue) < most_bytes
    holder.execute("COMMIT")


@pytest.mark.timeout(120)
def test_claims_stay_flat_under_a_held_snapshot(queue: Queue) -> None:
    check(queue, 30_000, slot=4_000, most_bytes=20_000_000)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_claims_stay_flat_through_300000_messages(queue: Queue) -> None:
    check(queue, 300_000, slot=60_000, most_bytes=200_000_000)
