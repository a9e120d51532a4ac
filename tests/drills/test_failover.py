"""Failover to a server that follows synchronously, while the old primary lives on and still takes connections."""

import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from pgqueue import schema
from pgqueue.brokers import _sending
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.replication import Pair

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load

#: Seconds for which silence is borne, in the short version.
SHORT_ANSWER_S = 3.0

#: Seconds from the promotion within which every worker works on the new primary while the old one lives or has ended;
#: and if it is frozen a second later, which is a silence like that of a network.
RECOVERY_S, AFTER_SILENCE_S = 15.0, 20.0


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two servers of the drill's own."""
    with Pair() as started:
        schema.upgrade(started.primary.url)
        yield started


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_failovers(
    pair: Pair,
    ledger: Ledger,
    dice: random.Random,
    scale: Scale,
    report: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing that was confirmed is missing on the new primary, and nobody stays with the old one."""
    env = {"DRILL_SERVERS": "1"}
    if not scale.full:
        env["DRILL_ANSWER_S"] = str(SHORT_ANSWER_S)
        monkeypatch.setattr(_sending, "ANSWER_S", SHORT_ANSWER_S)
    found: dict[str, list[float]] = {fate.__name__: [] for fate in FATES}
    with Fleet(pair.url, ledger, env=env) as fleet:
        fleet.start(2)
        with Load(pair.url, ledger, dice, rate=200) as load:
            for number in range(scale(1, 20)):
                time.sleep(dice.uniform(0.5, 2.0))
                fate = FATES[number % len(FATES)]
                found[fate.__name__].append(fail_over(pair, fleet.workers, ledger, dice, fate))
                pair.follow()
        wait_until_drained(pair.primary.url, ledger, within_s=60.0)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    slowest = {
        f"slowest, {fate.replace('_', ' ')}, s": round(max(times), 1)
        for fate, times in found.items()
        if times
    }
    verdicts = examine(pair.primary.url, ledger, charged_by_guess=True)
    report(verdicts, failovers=scale(1, 20), **slowest, sends_failed=load.failures)
    if scale.full:
        assert max(found["lives_on"] + found["is_stopped"]) < RECOVERY_S
        assert max(found["is_frozen"]) < AFTER_SILENCE_S


def fail_over(
    pair: Pair, workers: list[Process], ledger: Ledger, dice: random.Random, fate: Callable[[Pair], None]
) -> float:
    """Promote the standby and deal with the old primary; return after how long all workers worked on the new one."""
    began, skip = time.time(), ledger.size
    ledger.write("promoted", str(pair.standby.directory), token=str(pair.primary.directory))
    pair.promote()
    # Producers that wait for the old primary's commits must not be what the workers wait for.
    with Load(pair.primary.url, ledger, dice, rate=100):
        time.sleep(dice.uniform(0.0, 1.0))
        fate(pair)
        return eventually(
            lambda: max(works(pair, each, Facts.of(ledger, skip=skip), began) for each in workers),
            within_s=60.0,
        )


def works(pair: Pair, worker: Process, facts: Facts, began: float) -> float:
    """After how many seconds a worker began a message that it had claimed on the new primary."""
    starts = [
        run.started_at - began
        for runs in facts.runs.values()
        for run in runs
        if run.pid == worker.pid
        and run.claimed_at > began
        and str(pair.primary.directory) in facts.servers_of(run)
    ]
    assert starts, worker.output
    return min(starts)


def lives_on(pair: Pair) -> None:
    """It takes connections, and writes whose commits wait for a standby that follows no more."""


def is_stopped(pair: Pair) -> None:
    """It ends."""
    pair.standby.stop()


def is_frozen(pair: Pair) -> None:
    """It answers nobody, and closes nothing."""
    pair.standby.send(signal.SIGSTOP)


FATES = (lives_on, is_stopped, is_frozen)
