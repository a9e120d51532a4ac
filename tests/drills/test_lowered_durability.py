"""Less durability than pgqueue asks for, and a crash: the end of what was confirmed is lost, and nothing else."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.embedded.account import Account
from pgqueue.message import Message
from tests.support.eventually import eventually
from tests.support.postgres import quick_directory
from tests.support.replication import Node, Pair

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .horizon import Horizon, give_up
from .ledger import Ledger
from .load import Load, message, mixture
from .test_crashed_server import wait_until_work_goes_on

#: Seconds between two looks of the server's at what it has not written yet. What is lost was confirmed within three
#: times that, as its documentation says of wal_writer_delay; and a busy machine lets it look later.
DELAY_S, LATE_S = 0.2, 3.0

#: So many priorities are new in each round, and one message of so many has one of these.
PRIORITIES, NEW_EACH = 10, 30

#: In the short version those who have lost their connection are not waited for.
HASTY = {"DRILL_GRACE_S": "0.5", "DRILL_CALM_S": "0.5", "DRILL_INTERVAL_S": "0.5"}

#: Seconds from the crash or the promotion within which messages run again.
RECOVERY_S = 15.0


@dataclass(slots=True)
class Losses:
    """What the crashes have taken.

    Attributes:
      lost: How many messages that had been confirmed.
      oldest_s: How long before the crash the first of them had been confirmed.
      unsafe_s: For how long before the crash the server did not say that it was safe.
      recoveries: Seconds until messages ran again.
    """

    lost: int = 0
    oldest_s: list[float] = field(default_factory=lambda: [0.0])
    unsafe_s: list[float] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)

    def add(self, gone: dict[str, float], *, at: float, safe_until: float) -> None:
        """Count what is gone, none of which had been safe."""
        assert safe_until, "nobody has seen how far the log was safe"
        assert all(sent_at >= safe_until for sent_at in gone.values()), (safe_until, gone)
        self.lost += len(gone)
        self.oldest_s += [at - sent_at for sent_at in gone.values()]
        self.unsafe_s.append(at - safe_until)

    @property
    def figures(self) -> dict[str, float]:
        """For the report."""
        return {
            "confirmed and lost": self.lost, "oldest of these s": round(max(self.oldest_s), 2),
            "longest unsafe s": round(max(self.unsafe_s), 2), "slowest recovery s": round(max(self.recoveries), 2),
        }  # fmt: skip


class Draw:
    """Draws a mixture, and remembers what is to run twice.

    Now and then one has a priority that no message has had: the first that does makes a lane for it, which may be lost.
    """

    def __init__(self) -> None:
        self.twice: set[str] = set()
        self._round = 0

    def next_round(self) -> None:
        """Draw other priorities from now on."""
        self._round += 1

    def __call__(self, dice: random.Random, size: int) -> list[Message[Any]]:
        drawn = [
            one if dice.randrange(NEW_EACH) else self._with_new_priority(one, dice)
            for one in mixture(dice, size)
        ]
        self.twice |= {one.message_id for one in drawn if one.actor_name == "flaky"}
        return drawn

    def _with_new_priority(self, one: Message[Any], dice: random.Random) -> Message[Any]:
        first = 10 + self._round * PRIORITIES
        return one.copy(options={"priority": dice.randrange(first, first + PRIORITIES)})

    def run_again(self, ledger: Ledger) -> int:
        """How many messages ran to their end more often than they were to: their ack was lost."""
        runs = Facts.of(ledger).runs
        return sum(
            sum(run.ended_at < float("inf") for run in of_one) > 1 + (id_ in self.twice)
            for id_, of_one in runs.items()
        )


@pytest.fixture
def server() -> Iterator[Node]:
    """A server of the drill's own that confirms what it has not written."""
    directory = Path(tempfile.mkdtemp(prefix="pgqueue-drill-", dir=quick_directory()))
    settings = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "off",
                "wal_writer_delay": f"{DELAY_S * 1000:.0f}ms"}  # fmt: skip
    Account.for_directory(directory).own(directory)
    node = Node(directory, "a", settings)
    try:
        node.initialise()
        node.start()
        schema.upgrade(node.url)
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two servers, one of which follows the other without its waiting for that."""
    with Pair(synchronous=False) as started:
        schema.upgrade(started.primary.url)
        yield started


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_crashes_without_synchronous_commit(
    server: Node, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """What was confirmed in the last moment may be lost; what had been acked in it runs again."""
    rounds, losses, draw = scale(1, 20, reach=50), Losses(), Draw()
    with Fleet(server.url, ledger, env={} if scale.full else HASTY) as fleet:
        fleet.start(2)
        with Load(server.url, ledger, dice, rate=300, draw=draw) as load:
            for _ in range(rounds):
                draw.next_round()
                crash(server, ledger, dice, losses, pause_s=1.8 if scale.full else 0.8)
                losses.recoveries.append(wait_until_work_goes_on(server.url, ledger))
        wait_until_drained(server.url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    verdicts = examine(server.url, ledger, charged_by_guess=True)
    report(
        verdicts,
        **losses.figures,
        ran_again=draw.run_again(ledger),
        rounds=rounds,
        sends_failed=load.failures,
    )
    if scale.full:
        assert losses.lost
        assert max(losses.oldest_s) < 3 * DELAY_S + LATE_S
        assert max(losses.recoveries) < RECOVERY_S


def wait_until_sent(ledger: Ledger) -> None:
    """Wait until a message is confirmed that was not yet."""
    skip = ledger.size

    def look() -> None:
        assert any(entry.kind == "sent" for entry in ledger.read(skip=skip))

    eventually(look)


def crash(server: Node, ledger: Ledger, dice: random.Random, losses: Losses, *, pause_s: float) -> None:
    """Kill the server's processes after a while, start it anew, and see what it has forgotten."""
    with Horizon(server.url) as horizon:
        wait_until_sent(ledger)
        time.sleep(dice.uniform(0.4, pause_s))
        ledger.write("crash")
        at = time.time()
        server.kill()
    server.start()
    ledger.write("crash")
    losses.add(give_up(server.url, ledger), at=at, safe_until=horizon.safe_until)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_failovers_to_a_server_that_lags_behind(
    pair: Pair, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """What had not reached the new primary is lost: messages, and acks, whose messages run again."""
    rounds, losses, draw = scale(1, 20), Losses(), Draw()
    with Fleet(pair.url, ledger, env={"DRILL_SERVERS": "1", **({} if scale.full else HASTY)}) as fleet:
        fleet.start(2)
        with Load(pair.url, ledger, dice, rate=300, draw=draw) as load:
            for number in range(rounds):
                draw.next_round()
                fail_over(pair, ledger, dice, losses, pauses_s=(1.5, 1.0) if scale.full else (0.5, 0.3))
                losses.recoveries.append(wait_until_work_goes_on(pair.primary.url, ledger))
                if number + 1 < rounds:
                    pair.follow()
        wait_until_drained(pair.primary.url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    verdicts = examine(pair.primary.url, ledger, charged_by_guess=True)
    report(
        verdicts,
        **losses.figures,
        ran_again=draw.run_again(ledger),
        failovers=rounds,
        sends_failed=load.failures,
    )
    assert losses.lost
    if scale.full:
        assert max(losses.recoveries) < RECOVERY_S


def fail_over(
    pair: Pair, ledger: Ledger, dice: random.Random, losses: Losses, *, pauses_s: tuple[float, float]
) -> None:
    """Kill the primary when the standby has not heard of it for a moment, promote that, and see what it lacks.

    Parameters:
      pauses_s: Until the standby falls behind and from then on, at most; something is confirmed in both.
    """
    with Horizon(pair.primary.url, pair.standby.url) as horizon:
        wait_until_sent(ledger)
        time.sleep(dice.uniform(0.2, pauses_s[0]))
        pair.fall_behind()
        wait_until_sent(ledger)
        time.sleep(dice.uniform(0.1, pauses_s[1]))
        ledger.write("promoted", str(pair.standby.directory), token=str(pair.primary.directory))
        at = time.time()
        pair.primary.kill()
    pair.promote()
    losses.add(give_up(pair.primary.url, ledger), at=at, safe_until=horizon.safe_until)


@pytest.mark.slow
def test_a_queue_that_a_failover_has_forgotten_is_made_anew(pair: Pair) -> None:
    """Or else its messages would wait under a number that nobody knows, or that is another queue's later."""
    broker = PostgresBroker(pair.url)
    try:
        broker.enqueue(message("quick", 0))
        pair.fall_behind()
        broker.enqueue(message("quick", 0, queue_name="unheard-of"))
        pair.primary.kill()
        pair.promote()
        assert pair.primary.execute("SELECT FROM pgqueue.lanes WHERE queue_name = 'unheard-of'") == []
        broker.enqueue(message("quick", 0, queue_name="unheard-of"))
        assert broker.get_queue_message_counts("unheard-of") == (1, 0, 0)
    finally:
        broker.close()
