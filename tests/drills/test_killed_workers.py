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

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message

#: Messages a second: about what is drained while nobody is killed.
RATE = 300

#: Of workers that are killed so often three may have run the same message, which is no poison for that.
PATIENT = {"DRILL_MAX_ATTEMPTS": "25"}

#: In the short version nobody waits long for a worker that was killed.
HASTY = {"DRILL_GRACE_S": "1", "DRILL_CALM_S": "0.5", "DRILL_INTERVAL_S": "0.5"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_workers_killed_without_a_supervisor(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Nothing is lost, what was acked never runs again, and what was running runs again within 15 s."""
    with Fleet(database_url, ledger, env=PATIENT if scale.full else PATIENT | HASTY) as fleet:
        fleet.start(3)
        with Load(database_url, ledger, dice, rate=RATE) as load:
            for number in range(scale(2, 25, reach=250)):
                time.sleep(dice.uniform(0.3, 1.5))
                if number % 2:
                    fleet.kill_one(dice)
                else:
                    busy = at_work(load, ledger, dice)
                    fleet.kill(next(each for each in fleet.workers if each.pid == busy))
                fleet.start()
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0, 0], fleet.output
        verdicts = examine(database_url, ledger, charged_by_guess=True)
        report(verdicts, kills=scale(2, 25, reach=250))
        assert verdicts.figures["cut"]


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
            warm=True,
        ) as program:
            wait_for_workers(program, 2)
            with Load(database_url, ledger, dice, rate=RATE) as load:
                for number in range(scale(2, 5)):
                    kill_one(program, ledger, dice, load=None if number % 2 else load)
                    kills += 1
            wait_until_drained(database_url, ledger, skip=drained)
            program.send(signal.SIGTERM)
            assert program.wait() == 0, program.output
    verdicts = examine(database_url, ledger)
    report(verdicts, kills=kills)
    assert verdicts.figures["cut"]
    assert verdicts.figures["charged"]


def kill_one(program: Process, ledger: Ledger, dice: random.Random, *, load: Load | None) -> None:
    """Kill one of the workers of a program, and wait until it is replaced.

    Parameters:
      load: Where messages come from that it is to be killed at; None: at a random moment.
    """
    time.sleep(dice.uniform(0.3, 1.5))
    known = worker_pids(program)
    any_ = [pid for pid in known if alive(pid)]
    victim = dice.choice(any_) if load is None else at_work(load, ledger, dice)
    ledger.write("killed", pid=victim)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: _assert_dead(victim))
    wait_for_workers(program, len(known) + 1)


def at_work(load: Load, ledger: Ledger, dice: random.Random) -> int:
    """Send messages that take a second, before all others, and return a process that is running one of them."""
    skip, long_ones = ledger.size, [message("long", number, 1.0, priority=-5) for number in range(4)]
    load.send(long_ones)

    def look() -> list[int]:
        runs = Facts.of(ledger, skip=skip).runs
        found = {run.pid for one in long_ones for run in runs[one.message_id] if run.ended_at == float("inf")}
        assert found
        return sorted(found)

    return dice.choice(eventually(look, within_s=30.0))


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
