"""Workers stopped by SIGTERM under load: what they have not begun is back at once."""

import random
import signal
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.support.eventually import eventually

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message

HELD = """
SELECT message.message_id::text
FROM pgqueue.workers
JOIN pgqueue.leases AS lease USING (owner), unnest(lease.ids) AS part (id)
JOIN pgqueue.messages AS message USING (id)
WHERE workers.pid = %s AND message.slot = lease.slot AND part.id <> ALL (lease.done)
"""

#: Seconds after a worker's end within which others begin what it handed back.
AT_ONCE_S = 2.0

#: As many more workers are stopped if those before had begun all that they held, as they may on a busy machine.
MORE_STOPS = 6


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_graceful_stops_under_load(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Nothing runs twice, nothing is charged, nothing waits."""
    waits: list[float] = []
    with Fleet(database_url, ledger) as fleet:
        fleet.start(2)
        stops, stopped = scale(2, 20), 0
        for number in range(stops + MORE_STOPS):
            if number >= stops and waits:
                break
            stopped += 1
            with Load(database_url, ledger, dice, rate=100) as load:
                load.send([message("slow", number) for number in range(100)])
                time.sleep(dice.uniform(0.1, 0.5))
                waits += stop_one(fleet, database_url, ledger, dice)
            fleet.start()
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    verdicts = examine(database_url, ledger)
    slowest = round(max(waits, default=0.0), 2)
    report(verdicts, stops=stopped, handed_back=len(waits), slowest_to_start_again_s=slowest)
    assert verdicts.figures["charged"] == 0
    assert waits
    assert slowest < AT_ONCE_S


def stop_one(fleet: Fleet, url: str, ledger: Ledger, dice: random.Random) -> list[float]:
    """Stop a worker; return how long after its end each message began that it had held and not begun."""
    worker = dice.choice(fleet.workers)
    with psycopg.connect(url, autocommit=True) as conn:

        def more_than_it_runs() -> set[str]:
            found = {row[0] for row in conn.execute(HELD, (worker.pid,))}
            assert len(found) > fleet.threads
            return found

        held = eventually(more_than_it_runs, within_s=20.0)
    fleet.workers.remove(worker)
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0, worker.output
    ended_at = time.time()

    def look() -> list[float]:
        runs = Facts.of(ledger).runs
        assert all(runs[id_] for id_ in held)
        others = [[run for run in runs[id_] if run.pid != worker.pid] for id_ in held]
        return [max(0.0, later[0].started_at - ended_at) for later in others if later]

    return eventually(look, within_s=20.0)
