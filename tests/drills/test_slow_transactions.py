"""A transaction of an application that has sent a message and stays open delays nobody else's."""

import random
import time
from collections.abc import Callable

import psycopg
import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message
from pgqueue.storage import messages
from pgqueue.storage.messages import NewMessage

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message

#: Seconds from the commit of a message to its start, at the most, while workers have time.
PROMPT_S = 1.1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_transactions_held_open_after_a_send(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Nobody waits for them; what they sent runs after the commit, and never after a rollback."""
    with (
        Fleet(database_url, ledger) as fleet,
        psycopg.connect(database_url) as committing,
        psycopg.connect(database_url) as rolling_back,
    ):
        fleet.start(2)
        kept = send_inside(committing, database_url, count=20)
        send_inside(rolling_back, database_url, count=20)
        with Load(database_url, ledger, dice, rate=50):
            time.sleep(scale(3, 60, reach=600))
            rolling_back.rollback()
            committing.commit()
            ledger.write("sent", *(one.message_id for one in kept))
            time.sleep(1.0)
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    waits = waits_for_the_first_run(ledger)
    verdicts = examine(database_url, ledger)
    report(verdicts, held_s=scale(3, 60, reach=600), slowest_start_s=round(max(waits), 3))
    assert max(waits) < PROMPT_S
    # What is sent in a transaction is written down at its commit: before that nothing has run.
    assert min(waits) > -1.0


def send_inside(conn: "psycopg.Connection[object]", url: str, *, count: int) -> list[Message[object]]:
    """Write messages in an application's open transaction."""
    broker = PostgresBroker(url)
    lane = broker._catalog.lanes_of({("default", 0)}).ids
    broker.close()
    made = [message("quick", number) for number in range(count)]
    rows = [
        NewMessage(lane["default", 0], "default", one.message_id, one.actor_name, one.encode())
        for one in made
    ]
    messages.enqueue(conn, broker.database.statements, messages=rows, channel="pgqueue:ready", registers=[])
    return made


def waits_for_the_first_run(ledger: Ledger) -> list[float]:
    """How long each message that was sent waited, by the ledger."""
    facts = Facts.of(ledger)
    sent_at = {entry.subject: entry.at for entry in ledger.read() if entry.kind == "sent"}
    return [facts.runs[id_][0].started_at - at for id_, at in sent_at.items() if facts.runs[id_]]
