"""Slots that rotate beneath senders who roll back, while a transaction of somebody's is open all the time."""

import random
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.support.eventually import eventually

from .checks import examine
from .conftest import Scale
from .crowds import Crowd
from .fleet import Fleet
from .ledger import Ledger

TURNS = "SELECT max(turn) FROM pgqueue.slots"

WAITING = "SELECT EXISTS (SELECT FROM pgqueue.ready) OR EXISTS (SELECT FROM pgqueue.leases)"

#: How many crowds one after the other may take until the ring has turned often enough.
MOST_CROWDS = 10

#: What the ring takes on disk.
RING = r"""
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relnamespace = 'pgqueue'::regnamespace AND relkind = 'r' AND relname ~ '^(messages|ready|leases)_\d'
"""


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_rollbacks_under_rotation(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Every message that was committed runs once, none that was rolled back; space comes back under an old snapshot."""
    total, slot = scale(3_000, 100_000, reach=1_000_000), scale(150, 5_000, reach=20_000)
    wanted, crowds = scale(2, 10, reach=30), list[Crowd]()
    with (
        Fleet(database_url, ledger, env={"DRILL_KEEPER_BUSY": str(slot)}) as fleet,
        psycopg.connect(database_url) as holder,
        psycopg.connect(database_url, autocommit=True) as conn,
    ):
        fleet.start(2)
        holder.execute("SELECT pg_current_xact_id()")
        began = time.monotonic()
        # Again and again on a quick machine, on which all is over before the keeper has looked for a second time.
        while not crowds or (value(conn, TURNS) < wanted and len(crowds) < MOST_CROWDS):
            with Crowd(database_url, ledger, dice, senders=4, total=total) as crowd:
                crowds.append(crowd)
            wait_until_empty(conn)
        seconds = time.monotonic() - began
        turns, ring = value(conn, TURNS), value(conn, RING)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    verdicts = examine(database_url, ledger)
    report(
        verdicts, rolled_back=sum(crowd.rolled_back for crowd in crowds), rotations=turns,
        ring_mb=round(ring / 1e6, 1), a_second=round(total * len(crowds) / seconds),
    )  # fmt: skip
    assert verdicts.figures["sent"] == verdicts.figures["runs"] == total * len(crowds)
    assert turns >= wanted
    # As after three full slots, not as after all messages.
    assert ring < max(30e6, slot * 3 * 400)


def wait_until_empty(conn: "psycopg.Connection[object]") -> None:
    """Wait until everything has been acknowledged; at the deadline, leave it to the checks."""

    def look() -> None:
        assert not value(conn, WAITING)

    try:
        eventually(look, within_s=120.0)
    except AssertionError:
        return


def value(conn: "psycopg.Connection[object]", query: str) -> int:
    """The one number that a query answers."""
    row = conn.execute(query.encode()).fetchone()
    assert isinstance(row, tuple)
    return int(row[0])
