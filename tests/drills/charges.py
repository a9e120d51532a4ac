"""Transactional actors for the drills: each leaves one effect for its message, and sends one message that does."""

import asyncio
import os
import random
import time
from pathlib import Path

import pgqueue
from pgqueue.middleware import CurrentMessage

from .ledger import Ledger
from .load import message
from .program import broker

__all__ = ["NAMES"]

#: The actors that a load draws from.
NAMES = ("charge", "charge_by_session", "charge_on_loop", "charge_at_last")

INSERT = "INSERT INTO effects (message_id, kind) VALUES (%s, %s)"

_ledger = Ledger(Path(os.environ["DRILL_LEDGER"]))

#: How long, in seconds, a body is in its transaction at most: long enough that some are whenever a worker is killed.
PAUSE_S = 0.15


def _pause_s() -> float:
    return random.uniform(0.0, PAUSE_S)  # noqa: S311  (keeps no secret)


def _charge(kind: str) -> None:
    current = pgqueue.current_transaction()
    current.connection.execute(INSERT, (current.message_id, kind))


def _send_receipt() -> None:
    receipt = message("receipt", pgqueue.current_transaction().message_id)
    # Sent if the transaction commits: nobody but the queue knows whether it does.
    _ledger.write("unsure", receipt.message_id)
    broker.enqueue(receipt)


@pgqueue.actor(transactional=True)
def receipt(parent: str) -> None:
    """Leave an effect in the name of the message that has sent this one."""
    pgqueue.current_transaction().connection.execute(INSERT, (parent, "receipt"))


@pgqueue.actor(transactional=True, store_results=True)
def charge(number: int) -> int:
    """Write, wait, send."""
    _charge("charge")
    time.sleep(_pause_s())
    _send_receipt()
    return number


@pgqueue.actor(transactional=True)
def charge_by_session(number: int) -> None:
    """The same with SQLAlchemy."""
    from sqlalchemy import text  # noqa: PLC0415  # the other drills do without it

    current = pgqueue.current_transaction()
    parameters = {"id": current.message_id}
    current.session().execute(text("INSERT INTO effects VALUES (:id, 'charge')"), parameters)
    _send_receipt()
    time.sleep(_pause_s())


@pgqueue.actor(transactional=True)
async def charge_on_loop(number: int) -> None:
    """The same as a coroutine."""
    _send_receipt()
    await asyncio.sleep(_pause_s())
    _charge("charge")


@pgqueue.actor(transactional=True, min_backoff=20, max_backoff=100, throws=())
def charge_at_last(number: int) -> None:
    """Fail the first time, after everything."""
    _charge("charge")
    _send_receipt()
    time.sleep(_pause_s())
    current = CurrentMessage.get_current_message()
    if current is not None and not current.options.get("retries"):
        raise RuntimeError("the first time")
