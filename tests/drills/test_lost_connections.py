"""Connections of workers terminated by the hundred under load, as a failover or an impatient DBA does it."""

import random
import time
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load

TERMINATE = """
SELECT pg_terminate_backend(pid), application_name
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = ANY (%s) AND random() < %s
"""


#: For so many seconds after the last storm all goes on, and so many of a hundred messages start within a second.
AFTER_S, KEPT_UP_PERCENT = 5, 95.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_storms_of_terminated_backends(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """No process is lost with its connections, so no message runs twice, but for the retries that it asked for."""
    kinds = ["pgqueue listener", "pgqueue acker", "pgqueue fetcher"]
    hits: Counter[str] = Counter()
    with Fleet(database_url, ledger) as fleet, psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("SELECT setseed(%s)", (dice.random(),))
        fleet.start(2)
        with Load(database_url, ledger, dice, rate=300):
            for _ in range(scale(8, 100)):
                time.sleep(dice.uniform(0.05, 1.0))
                chosen = dice.choice([kinds, kinds[:1], kinds[1:2], kinds[2:], [*kinds, "pgqueue"]])
                hits.update(row[1] for row in conn.execute(TERMINATE, (chosen, dice.uniform(0.3, 1.0))))
            over_at = time.time()
            time.sleep(scale(1, AFTER_S))
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        facts = Facts.of(ledger)
        twice = sum(len({run.claimed_at for run in runs}) > 2 for runs in facts.runs.values())
        report(
            examine(database_url, ledger),
            storms=scale(8, 100),
            terminated=hits.total(),
            ran_more_than_twice=twice,
            percent_run_after=(kept_up := percent_run(ledger, facts, since=over_at)),
        )
        assert "is lost" not in fleet.output
        assert "declared lost" not in fleet.output
        assert twice == 0
        assert hits.total() > 0
        assert not scale.full or hits.keys() >= set(kinds), hits
        assert not scale.full or kept_up > KEPT_UP_PERCENT


def percent_run(ledger: Ledger, facts: Facts, *, since: float) -> float:
    """Of what was sent since then, how much had started a second later."""
    sent = {entry.subject: entry.at for entry in ledger.read() if entry.kind == "sent" and entry.at > since}
    prompt = sum(bool(runs := facts.runs[id_]) and runs[0].started_at < at + 1.0 for id_, at in sent.items())
    return round(100 * prompt / max(1, len(sent)), 1)
