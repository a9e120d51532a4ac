"""Workers and producers whose clocks are ten minutes ahead and behind, or are set meanwhile."""

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from tests.support.processes import Process, processes

from .checks import RECOVERY_S, Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import UP_S, Fleet
from .ledger import Ledger
from .load import WINDOW_LIMIT

#: Seconds by which the clocks are off.
OFF_S = (600, -600, 0)

#: A message that is due starts within so many seconds, on a machine that is busy with all the other tests; by itself
#: it waits at the most for a worker that was killed.
LATE_S, LATE_ALONE_S = 60.0, RECOVERY_S + 2.0

#: In the short version nobody waits long for a worker that was killed.
HASTY = {"DRILL_GRACE_S": "1", "DRILL_INTERVAL_S": "0.5"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_clocks_off_by_ten_minutes(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Delays, age limits, rate limits, results, leases and heartbeats go by the server's clock."""
    with fleets(database_url, ledger, {} if scale.full else HASTY) as parts:
        with processes() as senders:
            start_senders(senders, parts, scale(1, 60), dice)
            for _ in range(scale(1, 10)):
                time.sleep(dice.uniform(0.5, scale(1, 8)))
                dice.choice(parts[:2]).workers[0].send(signal.SIGUSR1)
                replaced = dice.choice(parts)
                replaced.kill_one(dice)
                replaced.start(1)
            for each in senders:
                each.wait_for(" results", within_s=200.0)
        wait_until_drained(database_url, ledger, within_s=120.0)
        forget_what_was_too_old(database_url, subjects(ledger, "too old"))
        assert stop(parts) == [0, 0, 0]
        output = "\n".join(part.output for part in parts)
    late = lateness(ledger)
    passed = len(subjects(ledger, "passed"))
    found = examine(database_url, ledger, charged_by_guess=True)
    report(
        found, delayed=len(late), earliest_s=round(min(late), 3), latest_s=round(max(late), 2), passed=passed,
        too_old=len(subjects(ledger, "too old")), set=scale(1, 10),
    )  # fmt: skip
    assert min(late) >= 0.0
    assert max(late) < (LATE_ALONE_S if scale.full else LATE_S)
    # On a machine so busy that fewer ask than may pass, all of them do.
    assert passed == WINDOW_LIMIT or (passed < WINDOW_LIMIT and not subjects(ledger, "refused"))
    assert subjects(ledger, "too old")
    assert not set(found.runs) & subjects(ledger, "too old")
    assert "was declared lost" not in output


@contextmanager
def fleets(url: str, ledger: Ledger, env: Mapping[str, str]) -> Iterator[list[Fleet]]:
    """A worker for each clock."""
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        commands = [["-m", "tests.drills.clocks", str(off_s), "tests.drills.worker", "4"] for off_s in OFF_S]
        parts = [
            stack.enter_context(Fleet(url, ledger, command=command, env=env, warm=False))
            for command in commands
        ]
        list(threads.map(Fleet.start, parts))
        yield parts


def stop(parts: list[Fleet]) -> list[int]:
    """Stop all workers; return their codes."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(lambda part: part.stop(part.workers[0]), parts))


def start_senders(started: list[Process], parts: list[Fleet], seconds: int, dice: random.Random) -> None:
    """Start a producer with each clock."""
    for part, off_s in zip(parts, OFF_S, strict=True):
        arguments = ["-m", "tests.drills.clocks", str(off_s), "tests.drills.sender", str(seconds)]
        started.append(Process([*arguments, str(dice.randrange(2**31))], env=part.env))
    for each in started:
        each.wait_for("up\n", within_s=UP_S)


def subjects(ledger: Ledger, kind: str) -> set[str]:
    """What the ledger has entries of that kind for, or their number as texts."""
    return {entry.subject or str(entry.at) for entry in ledger.read() if entry.kind == kind}


def lateness(ledger: Ledger) -> list[float]:
    """How long after it was due each delayed message began, by the clock as it is."""
    runs = Facts.of(ledger).runs
    due = {entry.subject: entry.claimed_at for entry in ledger.read() if entry.kind == "due"}
    return [runs[id_][0].started_at - at for id_, at in due.items() if runs[id_]]


def forget_what_was_too_old(url: str, ids: set[str]) -> None:
    """See that it and nothing else has died, and forget it: other dead letters are faults."""
    with psycopg.connect(url) as conn:
        dead = {row[0] for row in conn.execute("DELETE FROM pgqueue.dead_letters RETURNING message_id::text")}
    assert dead == ids, (len(dead), len(ids), len(dead - ids), len(ids - dead))
