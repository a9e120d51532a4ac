"""kill -9 of workers whose transactional actors write, send, fail and return at that very moment."""

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pgqueue.message import Message
from tests.support.eventually import eventually

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message

NAMES = ("charge", "charge_by_session", "charge_on_loop", "charge_at_last")

TABLE = "CREATE TABLE effects (message_id text NOT NULL, kind text NOT NULL)"

#: So many kills hit some messages again and again: they are not to count as poison. And the dead are found soon, also
#: by workers that live for a few seconds only.
PATIENT = {
    "DRILL_MAX_ATTEMPTS": "100",
    "DRILL_GRACE_S": "0.5",
    "DRILL_CALM_S": "0.5",
    "DRILL_INTERVAL_S": "0.3",
}

#: Messages a second: few enough for a busy machine, each is a commit of its own and sends another.
RATE = 20

#: So many may wait: a few seconds' work of those workers that live. Who was cut off runs again after what came before.
MOST_WAITING = 100


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_each_message_has_exactly_one_effect(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Of every message that was sent, one effect is there, and one of the message that its body has sent."""
    kills = scale(2, 200)
    with (
        psycopg.connect(database_url, autocommit=True) as conn,
        Fleet(database_url, ledger, env=PATIENT) as fleet,
    ):
        conn.execute(TABLE.encode())
        fleet.start(2)
        in_transaction = 0
        with Load(database_url, ledger, dice, rate=RATE, draw=charges, most_waiting=MOST_WAITING):
            for kill in range(kills):
                time.sleep(dice.uniform(0.05, 0.5))
                in_transaction += (
                    eventually(lambda: _some_open(conn)) if kill % 2 else _open_transactions(conn)
                )
                fleet.kill_one(dice)
                fleet.start()
        wait_until_drained(database_url, ledger, within_s=60.0)
        eventually(lambda: _assert_drained(conn), within_s=60.0)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        verdicts = examine(database_url, ledger, charged_by_guess=True)
        wrong = _wrong_effects(conn, ledger)
        report(verdicts, kills=kills, in_transaction=in_transaction, effects=_count(conn), wrong=len(wrong))
    assert not wrong, dict(list(wrong.items())[:5])


def charges(dice: random.Random, size: int) -> list[Message[Any]]:
    """Draw some messages for transactional actors."""
    return [message(dice.choice(NAMES), number) for number in range(size)]


def _open_transactions(conn: "psycopg.Connection[Any]") -> int:
    row = conn.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'pgqueue actor' AND datname = current_database() AND xact_start IS NOT NULL"
    ).fetchone()
    return int(row[0]) if row else 0


def _some_open(conn: "psycopg.Connection[Any]") -> int:
    found = _open_transactions(conn)
    assert found, "no transaction is open"
    return found


def _assert_drained(conn: "psycopg.Connection[Any]") -> None:
    row = conn.execute(
        "SELECT count(*) FROM (SELECT FROM pgqueue.ready UNION ALL SELECT FROM pgqueue.leases"
        " UNION ALL SELECT FROM pgqueue.scheduled) AS left_over"
    ).fetchone()
    assert row is not None
    assert row[0] == 0


def _wrong_effects(conn: "psycopg.Connection[Any]", ledger: Ledger) -> dict[str, Counter[str]]:
    """The messages of which there are too many effects or too few, or which nobody has sent."""
    found: dict[str, Counter[str]] = {
        entry.subject: Counter() for entry in ledger.read() if entry.kind == "sent"
    }
    for message_id, kind in conn.execute("SELECT message_id, kind FROM effects"):
        found.setdefault(message_id, Counter())[kind] += 1
    return {id_: kinds for id_, kinds in found.items() if kinds != {"charge": 1, "receipt": 1}}


def _count(conn: "psycopg.Connection[Any]") -> int:
    row = conn.execute("SELECT count(*) FROM effects").fetchone()
    return int(row[0]) if row else 0
