"""Single messages for workers that have just become idle, or are about to: nobody hears too late, nobody not at all."""

import random
from collections.abc import Callable
from dataclasses import asdict

import psycopg
import pytest

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .noise import measured
from .producers import KINDS, Producers
from .test_slow_transactions import waits_for_the_first_run

#: Within so many seconds of the commit every message starts, and so many of a hundred within 20 ms.
PROMPT_S, WITHIN_20_MS_PERCENT = 1.1, 99.9

#: A machine so noisy says nothing about the latter: a message waits for five processes and threads in turn to wake.
NOISY_PERCENT = 0.01

CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'pgqueue listener' AND datname = current_database()
"""


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_single_messages_at_the_idle_edge(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """From producers in transactions of all kinds; what was rolled back never starts."""
    # A fifth is rolled back: 100,000 are left.
    each = scale(75, 31_250)
    with Fleet(database_url, ledger) as fleet, measured() as noise:
        fleet.start(2)
        with Producers(database_url, ledger, dice, number=4, each=each) as producers:
            pass
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    waits = waits_for_the_first_run(ledger)
    verdicts, figures = examine(database_url, ledger), told(waits)
    judged = noise.found.late_percent < NOISY_PERCENT
    report(verdicts, **producers.sent, **figures, **asdict(noise.found), judged=judged)
    assert len(waits) == 4 * each - producers.sent["rolled back"]
    assert set(producers.sent) == set(KINDS)
    if scale.full:
        assert max(waits) < PROMPT_S + noise.found.longest_s
        assert not judged or figures["within_20_ms_percent"] >= WITHIN_20_MS_PERCENT


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_single_messages_while_listeners_lose_their_connections(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Between LISTEN and the first claim, too: who hears nothing asks."""
    each, cuts = scale(75, 2_500), 0
    with (
        Fleet(database_url, ledger) as fleet,
        psycopg.connect(database_url, autocommit=True) as conn,
        measured() as noise,
    ):
        fleet.start(2)
        with Producers(database_url, ledger, dice, number=4, each=each) as producers:
            while not producers.over_within(dice.uniform(0, 0.4)):
                cut = conn.execute(CUT).fetchone()
                cuts += 0 if cut is None else cut[0]
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    waits = waits_for_the_first_run(ledger)
    verdicts = examine(database_url, ledger)
    report(verdicts, cuts=cuts, **told(waits), **asdict(noise.found))
    assert cuts
    assert len(waits) == 4 * each - producers.sent["rolled back"]
    if scale.full:
        assert max(waits) < PROMPT_S + noise.found.longest_s


def told(waits: list[float]) -> dict[str, float]:
    """Milliseconds from commit to start; none if it starts before the sender is told of the commit."""
    ordered = sorted(max(0.0, wait) * 1000 for wait in waits)
    figures = {
        f"p{percent:g}_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))], 1)
        for percent in (50, 99, 99.9)
    }
    within = sum(wait <= 20.0 for wait in ordered) / len(ordered)
    return {**figures, "most_ms": round(ordered[-1], 1), "within_20_ms_percent": round(within * 100, 2)}
