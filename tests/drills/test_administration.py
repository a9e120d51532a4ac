"""Everything that administers a queue at once, under load, beside whoever locks or rewrites its tables."""

import random
import time
from collections.abc import Callable

import psycopg
import pytest

from pgqueue.operations import acting
from pgqueue.storage.database import Database

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load
from .operators import DEAD_SPARE, Operators
from .test_rotation import TURNS, value

#: A slot of so many messages is full.
SLOT_MESSAGES = 200

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_administration_under_load(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """No error for any operator or sender, no worker that stops, and every message has its end.

    Who locks or rewrites whole tables can meet a claim or an ack in a deadlock; that is tried again.
    """
    with Fleet(database_url, ledger, env={"DRILL_KEEPER_BUSY": str(SLOT_MESSAGES)}) as fleet:
        fleet.start(2)
        with (
            Load(database_url, ledger, dice, rate=100) as load,
            Operators(database_url, ledger, dice, count=scale(3, 6)) as operators,
        ):
            time.sleep(scale(4, 180))
        wait_until_drained(database_url, ledger)
        purge(database_url)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        assert not operators.errors, "\n".join(operators.errors[:10])
        assert load.failures == 0
        assert "Traceback" not in fleet.output, fleet.output
    turns = rotations(database_url)
    report(
        examine(database_url, ledger), acts=operators.done.total(), timed_out=operators.timed_out,
        deadlocks=deadlocks(database_url), rotations=turns,
    )  # fmt: skip
    assert operators.done.total() > operators.timed_out
    if scale.full:
        assert operators.done.keys() == set(operators.acts)
        assert turns > 3


def purge(url: str) -> None:
    """Drop the dead letters that the operators have made and left."""
    database = Database(url)
    list(acting.purge_letters(database, DEAD_SPARE))
    database.close()


def rotations(url: str) -> int:
    """How often slots have been taken into use."""
    with psycopg.connect(url, autocommit=True) as conn:
        return value(conn, TURNS)


def deadlocks(url: str) -> int:
    """How often the server has had to end a transaction, because each of several waited for the other."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(DEADLOCKS).fetchone()
    assert row is not None
    return int(row[0])
