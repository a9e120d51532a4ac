"""Sends, claims and settles by the engine's statements, and notes what the claims touched: buffers, never time."""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median

from pgqueue.engine.acker import SETTINGS as ACKER
from pgqueue.engine.fetcher import SETTINGS as FETCHER
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage.messages import ClaimedMessage
from pgqueue.storage.positions import Positions

from ..support.plans import buffers, explained
from ..support.queue import Queue, done

__all__ = ["BATCH", "CLAIM", "FLAT", "Consumer", "check_flat", "large", "ring_bytes"]

#: The most that a claim may cost at the end, compared with the beginning.
FLAT = 1.3

BATCH, CLAIM = 1_000, 100


def large(number: int, *, otherwise: int) -> int:
    """``number`` if the environment asks for large runs (PGQUEUE_FLATNESS=full, as the drills' reach), of minutes."""
    is_asked = os.environ.get("PGQUEUE_FLATNESS") == "full" or os.environ.get("PGQUEUE_DRILLS") == "reach"
    return number if is_asked else otherwise


class Consumer:
    """A fetcher, an acker and a rotator on one queue; ``costs`` are buffers a message of the claims looked at.

    Parameters:
      slot: After how many messages the next slot is opened.
      send: Sends a batch; by default to one queue with one priority.
      plans: The plan_cache_mode, if not that of workers.
    """

    def __init__(
        self, queue: Queue, *, slot: int, send: Callable[[int], None] | None = None, plans: str | None = None
    ) -> None:
        self.queue = queue
        self.costs: list[float] = []
        self._send = send or (lambda number: queue.send(*[b"x" * 200] * number))
        planned = {} if plans is None else {"plan_cache_mode": plans}
        self._conn = queue.connect(**{**FETCHER, **planned})
        self._acks = queue.connect(**{**ACKER, **planned})
        self._rotator, self._positions = Rotator(queue.statements, max_messages=slot), Positions()
        self._owner = queue.owner()

    def consume(self, total: int) -> None:
        """Send so many and see them through; one claim of each batch is looked at."""
        for _ in range(total // BATCH):
            self._send(BATCH)
            self.rotate()
            for part in range(BATCH // CLAIM):
                claimed = self.look() if part == BATCH // CLAIM // 2 else self.claim()
                assert len(claimed) == CLAIM
                self.settle(claimed)

    def rotate(self) -> None:
        """Turn the ring, if it is time."""
        self._rotator.run_once(self.queue.conn)

    def claim(self) -> list[ClaimedMessage]:
        """Claim as a fetcher does."""
        return self.queue.claimed(self._owner, limit=CLAIM, conn=self._conn, positions=self._positions)

    def look(self) -> list[ClaimedMessage]:
        """Claim, and note what that touched."""
        claimed, plan = explained(self._conn, self.claim)
        self.costs.append(buffers(plan) / CLAIM)
        return claimed

    def settle(self, claimed: list[ClaimedMessage]) -> None:
        """Acknowledge."""
        self.queue.settle([done(message) for message in claimed], closes=True, conn=self._acks)


def check_flat(costs: list[float], *, most: float = FLAT) -> None:
    """What claims touch has not grown from the first fifth to the last."""
    some = max(3, len(costs) // 5)
    first, last = median(costs[:some]), median(costs[-some:])
    print(f"{first:.2f} buffers a message at first, {last:.2f} in the end, {max(costs):.2f} at most")
    assert last <= first * most
    assert max(costs) <= first * 3


def ring_bytes(queue: Queue) -> int:
    """What the ring takes on disk."""
    return int(
        queue.value(
            r"""SELECT sum(pg_total_relation_size(oid)) FROM pg_class
            WHERE relnamespace = 'pgqueue'::regnamespace AND relkind = 'r'
                AND relname ~ '^(messages|ready|leases)_\d'"""
        )
    )
