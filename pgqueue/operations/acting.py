"""What operators do to single messages and to all that match: cancel, retry, delete, requeue, purge."""

from collections.abc import Iterator, Sequence
from enum import StrEnum

from ..errors import DecodeError
from ..message import Message
from ..storage import dead_letters, registers, removals, scheduled, whereabouts
from ..storage.database import Database
from ..storage.dead_letters import DeadLetter, LetterFilter
from ..storage.messages import keys_of
from .listing import MessageFilter, list_messages

#: Messages that are removed or requeued in one transaction.
BATCH = 500

#: How far a preview counts.
MOST_COUNTED = 10_000

#: What retries have left in a message's options; `requeue` takes it out, so that the actor has all its retries again.
LEFT_BY_RETRIES = ("retries", "traceback", "requeue_timestamp")


class Done(StrEnum):
    """What was done to a message, or what it was found to be instead."""

    HASTENED = "made ready now"
    REQUEUED = "requeued"
    DELETED = "deleted"
    QUEUED = "queued already"
    RUNNING = "held by a worker"
    ENDED = "ended"
    UNKNOWN = "unknown"


def retry(database: Database, message_id: str) -> Done:
    """Have a message run as soon as a worker is free: a scheduled one now, a dead letter once more.

    What is queued or running stays as it is; of what has ended well, nothing is left to run.
    """
    with database.bounded() as conn:
        hastened = scheduled.hasten(conn, database.statements, key=keys_of(message_id)[0])
    if hastened:
        _wake(database)
        return Done.HASTENED
    with database.bounded() as conn:
        letters = whereabouts.find_dead(conn, database.statements, message_id=message_id)
    if letters and requeue(database, letters[:1]):
        return Done.REQUEUED
    return what_is(database, message_id)


def delete(database: Database, message_id: str) -> Done:
    """Remove a message that no worker holds, and its dead letters, without a trace."""
    with database.bounded() as conn:
        removed = removals.remove(conn, database.statements, keys=[keys_of(message_id)[0]], record=False)
        letters = whereabouts.find_dead(conn, database.statements, message_id=message_id)
        dropped = dead_letters.delete(conn, database.statements, letters=[letter.id for letter in letters])
    return Done.DELETED if removed or dropped else what_is(database, message_id)


def what_is(database: Database, message_id: str) -> Done:
    """What a message is, for whom an action has found nothing to do."""
    with database.bounded() as conn:
        live = whereabouts.find_live(conn, database.statements, message_id=message_id)
        ends = whereabouts.find_ends(conn, database.statements, message_id=message_id)
        letters = whereabouts.find_dead(conn, database.statements, message_id=message_id)
    if any(row.state == "running" for row in live):
        return Done.RUNNING
    if live:
        return Done.QUEUED
    return Done.ENDED if ends or letters else Done.UNKNOWN


# ── All that match ────────────────────────────────────────────────────────────────────────────────


def count_messages(database: Database, which: MessageFilter) -> tuple[int, bool]:
    """How many messages match, and whether that is all of them: counting stops at `MOST_COUNTED`."""
    found, cursor = 0, None
    while True:
        page = list_messages(database, which, limit=MOST_COUNTED - found, cursor=cursor)
        found, cursor = found + len(page.messages), page.cursor
        if cursor is None or found >= MOST_COUNTED:
            return found, cursor is None


def remove_all(database: Database, which: MessageFilter, *, record: bool) -> Iterator[int]:
    """Remove all messages that match and that no worker holds; yield how many, batch by batch.

    Parameters:
      record: Keep that they were cancelled.
    """
    cursor = None
    while True:
        page = list_messages(database, which, limit=BATCH, cursor=cursor)
        if page.messages:
            keys = sorted({keys_of(message.message_id)[0] for message in page.messages})
            with database.bounded() as conn:
                removed = removals.remove(conn, database.statements, keys=keys, record=record)
            yield len(removed)
        if page.cursor is None:
            return
        cursor = page.cursor


# ── Dead letters ──────────────────────────────────────────────────────────────────────────────────


def count_letters(database: Database, which: LetterFilter) -> tuple[int, bool]:
    """How many dead letters match, and whether that is all of them: counting stops at `MOST_COUNTED`."""
    with database.bounded() as conn:
        groups = dead_letters.group(conn, database.statements, which=which, most=MOST_COUNTED + 1)
    found = sum(group.count for group in groups)
    complete = found <= MOST_COUNTED and (not groups or groups[0].groups <= len(groups))
    return min(found, MOST_COUNTED), complete


def requeue(database: Database, letters: Sequence[DeadLetter]) -> int:
    """Make dead letters ready again, all in one commit; return how many were still there.

    Id and arguments stay; what retries have left in the options goes, so that the actor has all of them again. Bytes
    that this process's encoder can't read stay as they are.
    """
    if not letters:
        return 0
    with database.bounded() as conn:
        requeued = dead_letters.requeue(
            conn,
            database.statements,
            letters=[letter.id for letter in letters],
            payloads=[afresh(letter.payload) for letter in letters],
        )
    _wake(database)
    return requeued


def drop(database: Database, letters: Sequence[DeadLetter]) -> int:
    """Drop dead letters; return how many were still there."""
    with database.bounded() as conn:
        return dead_letters.delete(conn, database.statements, letters=[letter.id for letter in letters])


def requeue_all(database: Database, which: LetterFilter) -> Iterator[int]:
    """Requeue all dead letters that match now, the youngest first; yield how many, batch by batch.

    Those that die again meanwhile are younger than the first batch and stay.
    """
    for letters in _batches(database, which):
        yield requeue(database, letters)


def purge_letters(database: Database, which: LetterFilter) -> Iterator[int]:
    """Drop all dead letters that match now; yield how many, batch by batch."""
    for letters in _batches(database, which):
        yield drop(database, letters)


def _batches(database: Database, which: LetterFilter) -> Iterator[list[DeadLetter]]:
    after = None
    while True:
        with database.bounded() as conn:
            letters = dead_letters.browse(conn, database.statements, which=which, after=after, limit=BATCH)
        if not letters:
            return
        yield letters
        after = (letters[-1].died_at, letters[-1].id)


def afresh(payload: bytes) -> bytes:
    """A message's bytes as if it had never been tried."""
    try:
        message = Message.decode(payload)
    except DecodeError:
        return payload
    for name in LEFT_BY_RETRIES:
        message.options.pop(name, None)
    return message.encode()


def _wake(database: Database) -> None:
    with database.bounded() as conn:
        registers.wake(conn, database.statements)
