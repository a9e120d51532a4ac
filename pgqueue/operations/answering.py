"""Actions on a message by its id, and what is said of them: what was done, or what the message was found to be."""

from __future__ import annotations

from collections.abc import Callable

from ..message import Cancellation
from ..storage.database import Database
from ..storage.whereabouts import find_dead
from . import acting, cancelling
from .acting import Done

#: How long `cancel` waits for the answer of a worker, in seconds.
CANCEL_WAIT_S = 2.0

#: An action: answers what is to be said, and whether things are now as was wanted.
Act = Callable[[Database, str], tuple[str, bool]]


def retry(database: Database, message_id: str) -> tuple[str, bool]:
    """Have it run as soon as a worker is free."""
    done = acting.retry(database, message_id)
    return _SAID.get(done, str(done)), done in {Done.HASTENED, Done.REQUEUED, Done.QUEUED}


def delete(database: Database, message_id: str) -> tuple[str, bool]:
    """Remove it without a trace."""
    done = acting.delete(database, message_id)
    if done is Done.RUNNING:
        return "a worker holds it; cancel it first", False
    return _SAID.get(done, str(done)), done is Done.DELETED


def requeue(database: Database, message_id: str) -> tuple[str, bool]:
    """Make its dead letter ready again."""
    with database.bounded() as conn:
        letters = find_dead(conn, database.statements, message_id=message_id)
    if letters and acting.requeue(database, letters[:1]):
        return str(Done.REQUEUED), True
    return f"no dead letter: it is {acting.what_is(database, message_id)}", False


def cancel(database: Database, message_id: str, *, wait_s: float = CANCEL_WAIT_S) -> tuple[str, bool]:
    """See that it does not run, or not to its end."""
    result = cancelling.cancel(database, message_id, wait_s=wait_s)
    return _CANCELLATIONS[result], result in {Cancellation.CANCELLED, Cancellation.REQUESTED}


_SAID = {
    Done.RUNNING: "a worker holds it",
    Done.ENDED: "it is over: nothing is left of it to run or delete",
    Done.UNKNOWN: "no such message",
}

_CANCELLATIONS = {
    Cancellation.CANCELLED: "cancelled",
    Cancellation.REQUESTED: "its worker has been asked; the request lasts until it has ended",
    Cancellation.REFUSED: "it is running, and its actor does not have the option cancellable",
    Cancellation.DONE: "it is done already",
    Cancellation.FAILED: "it has failed already",
    Cancellation.UNKNOWN: "no such message",
}

#: All of them by name.
ACTS: dict[str, Act] = {"retry": retry, "cancel": cancel, "delete": delete, "requeue": requeue}
