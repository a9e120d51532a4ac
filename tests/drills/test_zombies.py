"""A worker that sleeps until it is declared lost, and then goes on as if nothing had happened."""

import random
import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.support.eventually import eventually
from tests.support.processes import Process

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message

#: A worker is declared lost after so many seconds of silence; the rest of its patience is shortened alike.
IMPATIENT = {"DRILL_SILENT_S": "3", "DRILL_GRACE_S": "1"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_late_acks_of_zombies(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """The fence refuses what a zombie says of messages that others have finished; it is told and works on."""
    with Fleet(database_url, ledger, env=IMPATIENT) as fleet:
        for _ in range(scale(1, 20)):
            (zombie,) = fleet.start()
            fall_asleep_at_work(zombie, database_url, ledger)
            fleet.start()
            with Load(database_url, ledger, dice, rate=100):
                wake_after_the_end(zombie, database_url, ledger)
                time.sleep(dice.uniform(0.5, 1.5))
            wait_until_drained(database_url, ledger)
            assert "declared lost" in zombie.output
            assert "LeaseLost" in zombie.output, _story(ledger, zombie)
            assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        verdicts = examine(database_url, ledger, charged_by_guess=True)
        refused, late = fleet.output.count("LeaseLost"), late_ends(ledger)
        report(verdicts, zombies=scale(1, 20), refused=refused)
        assert refused == late > 0


def fall_asleep_at_work(zombie: Process, url: str, ledger: Ledger) -> None:
    """Send messages to a worker that is alone, and stop it while it is running them."""
    load = Load(url, ledger, random.Random(0), rate=1)  # noqa: S311  (draws nothing)
    long_ones = [message("long", number, 3.0) for number in range(4)]
    load.send(long_ones)

    def look() -> None:
        runs = Facts.of(ledger).runs
        assert all(run.pid == zombie.pid for one in long_ones for run in runs[one.message_id])
        assert all(runs[one.message_id] for one in long_ones)

    eventually(look, within_s=10.0)
    zombie.send(signal.SIGSTOP)
    runs = Facts.of(ledger).runs
    assert all(runs[one.message_id][0].ended_at == float("inf") for one in long_ones), (
        "too slow to catch it at work"
    )


def wake_after_the_end(zombie: Process, url: str, ledger: Ledger) -> None:
    """Let a stopped process go on once it is declared lost and others have had time to finish what it ran."""

    def declared_lost() -> None:
        with psycopg.connect(url) as conn:
            assert not conn.execute("SELECT FROM pgqueue.workers WHERE pid = %s", (zombie.pid,)).fetchall()

    eventually(declared_lost, within_s=20.0)
    ledger.write("lost", pid=zombie.pid)
    time.sleep(2.0)
    zombie.send(signal.SIGCONT)


def late_ends(ledger: Ledger) -> int:
    """How many runs of zombies came to their end although others had been given the message."""
    lost, begun, late = dict[int, float](), dict[tuple[int, str], float](), 0
    for entry in sorted(ledger.read(), key=lambda entry: entry.at):
        run = (entry.pid, entry.subject)
        if entry.kind == "lost":
            lost[entry.pid] = entry.at
        elif entry.kind == "start":
            begun[run] = entry.at
        elif entry.kind == "end" and entry.pid in lost:
            late += begun[run] < lost[entry.pid] < entry.at
    return late


def _story(ledger: Ledger, zombie: Process) -> str:
    return "\n".join(str(entry) for entry in ledger.read() if entry.pid == zombie.pid)[-6000:]
