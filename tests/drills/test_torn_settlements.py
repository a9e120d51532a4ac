"""Settlements torn between any two of their steps: the process dies, the connection does, an answer never comes."""

import random
from collections.abc import Callable

import psycopg
import pytest

from tests.support.processes import Process

from .checks import Verdicts
from .conftest import Scale
from .torn_checks import SCENARIOS, TABLES

#: The steps of which a settlement has at least so many: one of the acker's, or the body's begin, check, verdict and
#: commit; and those of what follows.
LEAST = {"plain": 3, "transactional": 6}


#: How a settlement is torn; each of the short version's scenarios is torn in one of them.
HOWS = ("kill", "terminate", "unanswered")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("how", "scenario"),
    [
        pytest.param(how, scenario, marks=() if (number + place) % 3 == 0 else pytest.mark.long)
        for number, how in enumerate(HOWS)
        for place, scenario in enumerate(SCENARIOS)
    ],
)
def test_a_settlement_is_whole_or_not_there(
    database_url: str, dice: random.Random, scale: Scale, report: Callable[..., None], how: str, scenario: str
) -> None:
    """Never an ack without its follow-ups, never a follow-up without the ack, never either of them twice.

    The short version tears at every sixteenth step, from a first that is random, and six of the eighteen.
    """
    stride = scale(16, 1)
    arguments = [how, scenario, str(dice.randrange(stride)), str(stride)]
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(TABLES.encode())
    with Process(
        ["-m", "tests.drills.torn", *arguments], env={"DRILL_URL": database_url}, warm=True
    ) as program:
        assert program.wait(timeout_s=280) == 0, program.output
        steps = int(program.output.strip().splitlines()[-1])
    assert steps >= LEAST[scenario.split(maxsplit=1)[0]], program.output
    report(Verdicts(), steps=steps, torn_at_each=scale.full)
