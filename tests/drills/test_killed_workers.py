"""kill -9 of worker processes at random moments under load."""

import os
import random
import re
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.eventually import eventually
from tests.support.processes import Process, alive

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load

#: Messages a second: about what is drained while nobody is killed.
RATE = 300


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_workers_killed_without_a_supervisor(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Nothing is lost, what was acked never runs again, and what was running runs again within 15 s."""
    with Fleet(database_url, ledger) as fleet:
        fleet.start(3)
        with Load(database_url, ledger, dice, rate=RATE):
            for _ in range(scale(2, 25, reach=250)):
                time.sleep(dice.uniform(0.3, 1.5))
                fleet.kill_one(dice)
                fleet.start()
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0, 0], fleet.output
        report(examine(database_url, ledger, charged_by_guess=True), kills=scale(2, 25, reach=250))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_workers_killed_under_their_supervisor(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """As without one, but only what was running is charged, and it runs again within about a second."""
    kills = 0
    # A few kills each: a supervisor waits ever longer before it replaces those that die young, half a minute at most.
    for _ in range(scale(1, 5, reach=50)):
        drained = ledger.size
        with Process(
            ["-m", "pgqueue", "tests.drills.program", "-p", "2", "-t", "4"],
            env={"DRILL_URL": database_url, "DRILL_LEDGER": str(ledger.path)},
        ) as program:
            wait_for_workers(program, 2)
            with Load(database_url, ledger, dice, rate=RATE):
                for _ in range(scale(2, 5)):
                    kill_one(program, ledger, dice)
                    kills += 1
            wait_until_drained(database_url, ledger, skip=drained)
            program.send(signal.SIGTERM)
            assert program.wait() == 0, program.output
    report(examine(database_url, ledger), kills=kills)


def kill_one(program: Process, ledger: Ledger, dice: random.Random) -> None:
    """Kill one of the workers of a program at a random moment, and wait until it is replaced."""
    time.sleep(dice.uniform(0.3, 1.5))
    known = worker_pids(program)
    victim = dice.choice([pid for pid in known if alive(pid)])
    ledger.write("killed", pid=victim)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: _assert_dead(victim))
    wait_for_workers(program, len(known) + 1)


def worker_pids(program: Process) -> list[int]:
    """The workers that were ever up."""
    return [int(pid) for pid in re.findall(r"\[PID (\d+)\].*Worker process is ready", program.output)]


def wait_for_workers(program: Process, count: int) -> None:
    """Wait until so many workers have been up."""

    def look() -> None:
        assert len(worker_pids(program)) >= count, program.output

    eventually(look, within_s=60.0)


def _assert_dead(pid: int) -> None:
    assert not alive(pid)
