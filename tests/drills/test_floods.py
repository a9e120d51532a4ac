"""A flood in one queue beside a tenant who sends one message at a time to another."""

import random
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable

import pytest

from pgqueue.brokers.postgres import PostgresBroker

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import message
from .senders import Senders
from .test_wake_ups import told

#: Seconds that a quiet message may wait, however busy the machine.
DEAF_S = 5.0

#: Messages that the flood sends at once, and that may wait before it sends more.
BATCH, BACKLOG = 1_000, 30_000

#: One of so many in the flood takes 50 milliseconds.
LONG_EACH = 50

#: The most seconds between two messages of the quiet tenant.
PAUSE_S = 0.05

#: At most so many of the flood start between the commit and the start of nine quiet messages out of ten: what the
#: workers have fetched, not what waits. In the order of arrival it would be thousands.
PASSED = 1_500


class Flood(Senders):
    """Sends so many messages, more than can be run; whoever leaves the block waits until all are sent.

    Attributes:
      ids: Of all that was sent.
    """

    def __init__(self, url: str, ledger: Ledger, dice: random.Random, *, total: int) -> None:
        super().__init__(url, dice, number=1)
        self._ledger = ledger
        self._total = total
        self.ids: set[str] = set()

    def _send_all(self, dice: random.Random) -> None:
        for _ in range(self._total // BATCH):
            batch = [message("quick" if dice.randrange(LONG_EACH) else "slow", n) for n in range(BATCH)]
            self._broker.enqueue_many(batch)
            self._ledger.write("sent", *(one.message_id for one in batch))
            self.ids |= {one.message_id for one in batch}
            while self.waiting() > BACKLOG:
                time.sleep(0.2)

    def waiting(self) -> int:
        """How many of it wait."""
        return sum(self._broker.get_queue_message_counts("default"))

    def ebbs(self) -> bool:
        """Whether all is sent, and hardly more of it left than the workers have fetched."""
        return self.over_within(0) and self.waiting() < PASSED


class Tenant:
    """Sends one message after the other to a queue of its own."""

    def __init__(self, url: str, ledger: Ledger, dice: random.Random) -> None:
        self._broker = PostgresBroker(url)
        self._ledger = ledger
        self._dice = dice

    def send(self) -> str:
        """Send one, wait a little, and return its id."""
        one = self._broker.enqueue(message("spare", 0, queue_name="spare"))
        self._ledger.write("sent", one.message_id)
        time.sleep(self._dice.uniform(0, PAUSE_S))
        return one.message_id

    def close(self) -> None:
        """Close its connections."""
        self._broker.close()


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_a_flood_beside_a_quiet_tenant(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Nothing is lost of either, and the tenant waits for what is being run, not for all that came before."""
    total, tenant, beside = scale(5_000, 100_000, reach=1_000_000), Tenant(database_url, ledger, dice), []
    with Fleet(database_url, ledger) as fleet:
        fleet.start(2)
        alone = [tenant.send() for _ in range(scale(20, 1_000))]
        with Flood(database_url, ledger, dice, total=total) as flood:
            while not flood.ebbs():
                beside.append(tenant.send())
        tenant.close()
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    facts, sent_at = Facts.of(ledger), moments(ledger)
    waits = waits_of(beside, facts, sent_at)
    passed = sorted(passing(beside, flood.ids, facts, sent_at))
    most = passed[len(passed) * 9 // 10]
    report(
        examine(database_url, ledger), flood=total, quiet=len(beside), p90_passed_by=most,
        most_passed_by=passed[-1], **told(waits), alone_p99_ms=told(waits_of(alone, facts, sent_at))["p99_ms"],
    )  # fmt: skip
    assert len(waits) == len(beside)
    assert most <= PASSED
    if scale.full:
        assert max(waits) < DEAF_S


def moments(ledger: Ledger) -> dict[str, float]:
    """When each message was sent."""
    return {entry.subject: entry.at for entry in ledger.read() if entry.kind == "sent"}


def waits_of(ids: Iterable[str], facts: Facts, sent_at: dict[str, float]) -> list[float]:
    """Seconds from the commit to the start of each that has started."""
    return [facts.runs[id_][0].started_at - sent_at[id_] for id_ in ids if facts.runs[id_]]


def passing(ids: Iterable[str], flood: Iterable[str], facts: Facts, sent_at: dict[str, float]) -> list[int]:
    """How many of the flood started between the commit and the start of each message."""
    starts = sorted(run.started_at for id_ in flood for run in facts.runs[id_])
    return [
        bisect_left(starts, facts.runs[id_][0].started_at) - bisect_left(starts, sent_at[id_])
        for id_ in ids
        if facts.runs[id_]
    ]
