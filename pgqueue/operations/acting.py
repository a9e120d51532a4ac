"""What operators do to single messages and to all that match: cancel, retry, delete, requeue, purge."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from ..errors import DecodeError
from ..message import Message
from ..storage import dead_letters, registers, removals, scheduled, whereabouts
from ..storage.database import Database
from ..storage.dead_letters import DeadLetter, LetterFilter
from ..storage.deadlocks import again_after_deadlock
from ..storage.listings import Listed
from ..storage.messages import keys_of
from .listing import BadCursor, MessageFilter, list_messages

#: Messages that are removed or requeued in one transaction.
BATCH = 500

#: Scheduled messages that are made ready in one transaction, one by one.
HASTENED_AT_ONCE = 100

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
    if _hasten(database, [message_id]):
        return Done.HASTENED
    with database.bounded() as conn:
        letters = whereabouts.find_dead(conn, database.statements, message_id=message_id)
    if letters and requeue(database, letters[:1]):
        return Done.REQUEUED
    return what_is(database, message_id)


@again_after_deadlock
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


@dataclass(frozen=True, slots=True)
class Preview:
    """What all that match are, as far as a look at part of them tells.

    Attributes:
      number: How many match; at least, unless it is ``complete``.
      sample: The first of them.
    """

    number: int
    complete: bool
    sample: list[Listed]


def preview_messages(database: Database, which: MessageFilter, *, sample: int) -> Preview:
    """Look at as many messages as a page of a list does: for those who wait for an answer."""
    page = list_messages(database, which, limit=MOST_COUNTED)
    return Preview(len(page.messages), page.cursor is None, page.messages[:sample])


@dataclass(frozen=True, slots=True)
class Step:
    """Part of what is done to all that match: to how many, and where to go on; None: that was the last."""

    done: int
    cursor: str | None


@again_after_deadlock
def remove_step(database: Database, which: MessageFilter, *, record: bool, cursor: str | None = None) -> Step:
    """Remove a batch of the messages that match and that no worker holds.

    Parameters:
      record: Keep that they were cancelled.
      cursor: Where the step before has ended.
    """
    page = list_messages(database, which, limit=BATCH, cursor=cursor)
    if not page.messages:
        return Step(0, page.cursor)
    keys = sorted({keys_of(message.message_id)[0] for message in page.messages})
    with database.bounded() as conn:
        removed = removals.remove(conn, database.statements, keys=keys, record=record)
    return Step(len(removed), page.cursor)


def hasten_step(database: Database, which: MessageFilter, *, cursor: str | None = None) -> Step:
    """Make a batch of the scheduled messages that match ready now."""
    page = list_messages(
        database, replace(which, states=("scheduled",)), limit=HASTENED_AT_ONCE, cursor=cursor
    )
    return Step(_hasten(database, [message.message_id for message in page.messages]), page.cursor)


def remove_all(database: Database, which: MessageFilter, *, record: bool) -> Iterator[int]:
    """Remove all messages that match and that no worker holds; yield how many, batch by batch.

    Parameters:
      record: Keep that they were cancelled.
    """
    cursor = None
    while True:
        step = remove_step(database, which, record=record, cursor=cursor)
        if step.done:
            yield step.done
        if step.cursor is None:
            return
        cursor = step.cursor


# ── Dead letters ──────────────────────────────────────────────────────────────────────────────────


def count_letters(
    database: Database, which: LetterFilter, *, but_of: Callable[[str], bool] | None = None
) -> tuple[int, bool]:
    """How many dead letters match, and whether that is all of them: counting stops at `MOST_COUNTED`.

    Parameters:
      but_of: Says of an actor's name whether its letters are left out.
    """
    with database.bounded() as conn:
        groups = dead_letters.group(conn, database.statements, which=which, most=MOST_COUNTED + 1)
    found = sum(group.count for group in groups if but_of is None or not but_of(group.actor_name))
    complete = found <= MOST_COUNTED and (not groups or groups[0].groups <= len(groups))
    return min(found, MOST_COUNTED), complete


@again_after_deadlock
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


@again_after_deadlock
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
    for letters in _batches(database, which, most_bytes=0):
        yield drop(database, letters)


def letters_step(
    database: Database,
    which: LetterFilter,
    act: Callable[[Database, Sequence[DeadLetter]], int],
    *,
    cursor: str | None = None,
    most_bytes: int | None = None,
) -> Step:
    """Requeue or drop (``act``) a batch of the dead letters that match, the youngest first.

    Parameters:
      most_bytes: Of which size payloads are read at most; None: all, as requeueing needs them.

    Raises:
      BadCursor: ``cursor`` was not given out by such a step.
    """
    after = None if cursor is None else read_place(cursor)
    letters = letters_after(database, which, after, most_bytes=most_bytes)
    if not letters:
        return Step(0, None)
    done = act(database, letters)
    return Step(done, write_place(letters[-1]) if len(letters) == BATCH else None)


def write_place(letter: DeadLetter) -> str:
    """A letter's place among the dead letters, as a cursor."""
    return f"{letter.died_at.isoformat()}~{letter.id}"


def read_place(cursor: str) -> tuple[datetime, int]:
    """The place that a cursor names.

    Raises:
      BadCursor: It names none.
    """
    died_at, _, number = cursor.partition("~")
    try:
        instant = datetime.fromisoformat(died_at)
        if instant.tzinfo is None or not 0 <= int(number) < 2**63:
            raise ValueError(cursor)
        return instant.astimezone(UTC), int(number)
    except (ValueError, OverflowError) as error:
        raise BadCursor(
            f"{cursor[:100]!r} is no place among the dead letters: begin without it, or take the one that the page "
            "before has given."
        ) from error


def letters_after(
    database: Database,
    which: LetterFilter,
    after: tuple[datetime, int] | None,
    *,
    limit: int | None = None,
    most_bytes: int | None = None,
) -> list[DeadLetter]:
    """The youngest dead letters that match, after one's time of death and number; `BATCH` unless limited.

    Parameters:
      most_bytes: Longer payloads are left empty.
    """
    with database.bounded() as conn:
        return dead_letters.browse(
            conn, database.statements, which=which, after=after, limit=limit or BATCH, most_bytes=most_bytes
        )


def _batches(
    database: Database, which: LetterFilter, *, most_bytes: int | None = None
) -> Iterator[list[DeadLetter]]:
    after = None
    while letters := letters_after(database, which, after, most_bytes=most_bytes):
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


@again_after_deadlock
def _hasten(database: Database, message_ids: Sequence[str]) -> int:
    """Make scheduled messages ready now, all in one commit; return how many were still scheduled."""
    with database.bounded() as conn:
        done = sum(scheduled.hasten(conn, database.statements, key=keys_of(id_)[0]) for id_ in message_ids)
    if done:
        _wake(database)
    return done


def _wake(database: Database) -> None:
    with database.bounded() as conn:
        registers.wake(conn, database.statements)
