"""What becomes of verdicts that the database does not take, and what is said of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import DataError, Error, errors

from ..faults import Fault
from ..logging import own_logger
from ..storage.messages import Verdict
from ..storage.refusals import has_no_slot

#: Classes of SQLSTATE with which a server refuses what it would take at another time: connections, transactions,
#: rights and objects, resources, locks, an operator's intervention, its system or configuration.
_TROUBLES = {"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58", "F0"}

logger = own_logger(__name__)


def is_about_a_value(error: Exception) -> bool:
    """Whether the same statement would fail for ever: a value is wrong or too large, not the server in trouble."""
    if isinstance(error, Error) and error.sqlstate is not None:
        return error.sqlstate[:2] in {"22", "23", "54"} and not has_no_slot(error)
    return isinstance(error, DataError | ValueError | OverflowError | TypeError)


def is_in_trouble(error: Exception) -> bool:
    """Whether the server says of itself, and not of what it was to write, that it can't for now."""
    if has_no_slot(error):
        return True
    return isinstance(error, Error) and error.sqlstate is not None and error.sqlstate[:2] in _TROUBLES


def took_its_time(error: Exception) -> bool:
    """Whether all have waited for it: for a lock that somebody else has, or for longer than a statement may take."""
    return isinstance(error, errors.LockNotAvailable | errors.QueryCanceled)


@dataclass(slots=True)
class Unrecordable(Verdict):
    """The verdict on a message whose own can't be written: it goes to the dead letters with the reason."""

    refused: Verdict | None = None


def sent_as(verdict: Verdict) -> Verdict:
    """The verdict that has the message's name and its actor's."""
    return (isinstance(verdict, Unrecordable) and verdict.refused) or verdict


def unrecordable(verdict: Verdict, error: Exception) -> Unrecordable:
    """Log that a verdict can't be written, and return what is written in its place."""
    logger.error(
        "What became of message %s can't be recorded: %s", verdict.message_id, error, fault=Fault.UNRECORDABLE
    )
    text = str(error).replace("\0", "\N{SYMBOL FOR NULL}") if not isinstance(error, Error) else str(error)
    return Unrecordable(
        # Nothing of what was to be recorded: any of it may be what can't be.
        verdict.message, "undecodable", "", status=None, reason="unrecordable",
        error=f"What became of it can't be recorded: {text}", refused=verdict,
    )  # fmt: skip


def give_up(group: Sequence[Verdict], why: object) -> None:
    """Log that verdicts are not written, now or later."""
    for verdict in group:
        sent = sent_as(verdict)
        logger.error(
            "The ack of message %s (%s) could not be written: %s. The message stays with this worker until that ends, "
            "and runs again then.", sent.message_id, sent.actor_name, why, fault=Fault.ACK_FAILED,
        )  # fmt: skip


def report_lost(verdict: Verdict) -> None:
    """Log that a verdict was refused, because its message was given to another worker."""
    sent = sent_as(verdict)
    logger.error(
        "LeaseLost: message %s (%s) was given to another worker before its end was recorded; its run here counts for "
        "nothing.", sent.message_id, sent.actor_name, fault=Fault.LEASE_LOST,
    )  # fmt: skip
