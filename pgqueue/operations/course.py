"""The course of a message: what happened to it, in order, and each attempt to run it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..clock import made_at
from ..errors import DecodeError
from ..message import Message
from ..storage.attempts import FailedAttempt
from ..storage.dead_letters import DeadLetter
from ..storage.whereabouts import End, LiveRow
from .explaining import MOST_RETRIES, Found

__all__ = ["Attempt", "Moment", "attempts_of", "time_line_of"]

_ENDS = {"d": "done", "f": "failed", "c": "cancelled"}
_KINDS = {"r": "retried", "f": "failed", "l": "worker lost"}

#: What comes first of what happened in the same millisecond; ends come last.
_RANKS = {
    what: rank for rank, what in enumerate(("enqueued", "due", "put aside", "ready", "claimed", "begun"))
}

#: How far apart, in seconds, the database may have noted the two halves of one end: the dead letter has the time at
#: which the transaction began, the outcome that of the statement.
SAME_S = 2.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run of a message, as far as it left a trace.

    Attributes:
      state: ``running``, ``done``, ``failed``, ``retried``, ``worker lost`` or ``cancelled``.
      at: When it ended, or was claimed if it is running.
      retries: How many attempts had failed before.
      lost_workers: How many workers had been lost while they ran the message.
    """

    state: str
    at: datetime | None = None
    worker: str | None = None
    wait_ms: int | None = None
    run_ms: int | None = None
    error: str | None = None
    traceback: str | None = None
    reason: str | None = None
    lost_workers: int = 0
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a message; ``after_s`` is the time since what happened before it."""

    at: datetime
    what: str
    after_s: float | None


# ── Each attempt ──────────────────────────────────────────────────────────────────────────────────


def attempts_of(found: Found) -> list[Attempt]:
    """The runs that left a trace, the last one first."""
    letters, failed = list(found.letters), list(found.attempts)
    running = [
        Attempt("running", row.since, worker=next((crew.name for crew in found.crew if crew.owner == row.owner), None))
        for row in found.live
        if row.state == "running"
    ]  # fmt: skip
    over = [_ended(end, failed, letters) for end in found.ends]
    over += [_failed(each, _taken(letters, each.failed_at) if each.kind == "f" else None) for each in failed]
    over += [_died(letter) for letter in letters]
    over.sort(key=lambda attempt: attempt.at.timestamp() if attempt.at else 0.0, reverse=True)
    return [*running, *over, *_noted(found)]


def _ended(end: End, failed: list[FailedAttempt], letters: list[DeadLetter]) -> Attempt:
    """An end, with what its attempt and its dead letter tell of it, which are taken off their lists."""
    same = None
    if end.status == "f":
        same = next((each for each in failed if each.kind != "r" and each.failed_at == end.finished_at), None)
    letter = _taken(letters, end.finished_at) if end.status == "f" else None
    if same is not None:
        failed.remove(same)
    traceback = None if letter is None else letter.traceback
    return Attempt(
        "worker lost" if same is not None and same.kind == "l" else _ENDS[end.status], end.finished_at,
        worker=None if same is None else same.worker,
        wait_ms=end.wait_ms,
        run_ms=end.run_ms if same is None or same.run_ms is None else same.run_ms,
        error=end.error or (same.error if same is not None else None),
        traceback=traceback if same is None else same.traceback or traceback,
        reason=None if letter is None or letter.reason == "failed" else letter.reason,
        lost_workers=end.attempts,
        retries=None if same is None else same.retries,
    )  # fmt: skip


def _failed(each: FailedAttempt, letter: DeadLetter | None) -> Attempt:
    return Attempt(
        _KINDS[each.kind], each.failed_at, worker=each.worker, wait_ms=each.wait_ms, run_ms=each.run_ms,
        error=each.error, traceback=each.traceback, reason=None if letter is None else letter.reason,
        lost_workers=0 if letter is None else letter.attempts, retries=each.retries,
    )  # fmt: skip


def _died(letter: DeadLetter) -> Attempt:
    return Attempt(
        "failed", letter.died_at, reason=letter.reason, lost_workers=letter.attempts, error=letter.error,
        traceback=letter.traceback,
    )  # fmt: skip


def _taken(letters: list[DeadLetter], at: datetime) -> DeadLetter | None:
    """The dead letter of an end, which is taken off the list."""
    same = next((letter for letter in letters if abs((letter.died_at - at).total_seconds()) < SAME_S), None)
    if same is not None:
        letters.remove(same)
    return same


def _noted(found: Found) -> Iterator[Attempt]:
    """What Retries has noted in a message of attempts that left no row: those of an older release."""
    if any(attempt.kind == "r" for attempt in found.attempts) or found.letters or not found.live:
        return
    try:
        options = Message.decode(found.live[0].payload).options
    except DecodeError:
        return
    text, retries = options.get("traceback"), options.get("retries")
    if text and isinstance(text, str):
        last = text.strip().splitlines()[-1] if text.strip() else None
        yield Attempt(
            "retried",
            retries=retries - 1 if isinstance(retries, int) and 0 < retries < MOST_RETRIES else None,
            error=last,
            traceback=text,
        )


# ── What happened, in order ───────────────────────────────────────────────────────────────────────


def time_line_of(found: Found) -> list[Moment]:
    """What is known to have happened to a message, and when it is due."""
    known = {*_of_ends(found), *_of_attempts(found), *_of_rows(found), *_of_letters(found)}
    known |= set(_made(found, known))
    ordered = sorted(known, key=lambda moment: (moment[0], _RANKS.get(moment[1], len(_RANKS)), moment[1]))
    return [
        Moment(at, what, (at - ordered[number - 1][0]).total_seconds() if number else None)
        for number, (at, what) in enumerate(ordered)
    ]


def _of_ends(found: Found) -> Iterator[tuple[datetime, str]]:
    lost = {each.failed_at for each in found.attempts if each.kind == "l"}
    for end in found.ends:
        began = end.finished_at - timedelta(milliseconds=end.run_ms)
        if end.finished_at not in lost:
            yield began - timedelta(milliseconds=end.wait_ms), "ready"
            if end.status != "c" or end.run_ms:
                yield began, "begun"
        yield end.finished_at, _ENDS[end.status]


def _of_attempts(found: Found) -> Iterator[tuple[datetime, str]]:
    ends = {end.finished_at for end in found.ends}
    for each in found.attempts:
        if each.kind != "l" and each.failed_at in ends:
            continue
        if each.run_ms is not None:
            began = each.failed_at - timedelta(milliseconds=each.run_ms)
            if each.wait_ms is not None:
                yield began - timedelta(milliseconds=each.wait_ms), "ready"
            yield began, "begun"
        yield each.failed_at, "failed, to be retried" if each.kind == "r" else _KINDS[each.kind]


def _of_rows(found: Found) -> Iterator[tuple[datetime, str]]:
    for row in found.live:
        is_due = row.state == "scheduled" and row.enqueued_at == row.since
        yield row.enqueued_at, "due" if is_due else _arrival(found, row.enqueued_at)
        if row.state in {"running", "parked"}:
            yield row.since, "claimed" if row.state == "running" else "put aside"
        if row.state == "running":
            for crew in found.crew:
                yield from (
                    (run.since, "begun") for run in crew.running if run.message_id == found.message_id
                )
        if row.state == "scheduled":
            yield row.since, "due"


def _of_letters(found: Found) -> Iterator[tuple[datetime, str]]:
    failed = [end.finished_at for end in found.ends if end.status == "f"]
    failed += [each.failed_at for each in found.attempts if each.kind != "r"]
    for letter in found.letters:
        if letter.enqueued_at is not None:
            yield letter.enqueued_at, _arrival(found, letter.enqueued_at)
        if not any(abs((letter.died_at - at).total_seconds()) < SAME_S for at in failed):
            yield letter.died_at, "dead letter"


def _arrival(found: Found, at: datetime) -> str:
    """What a message's arrival in its queue was: it was sent, or due again after an attempt that failed."""
    before = [(each.failed_at, each.kind) for each in found.attempts if each.failed_at <= at]
    before += [(end.finished_at, end.status) for end in found.ends if end.finished_at <= at]
    return "due" if before and max(before)[1] == "r" else "enqueued"


def _made(found: Found, known: set[tuple[datetime, str]]) -> Iterator[tuple[datetime, str]]:
    """When a message was made of which no row tells when it was sent first, as after a retry."""
    rows: list[LiveRow | DeadLetter] = [*found.live, *found.letters]
    if not rows or any(what == "enqueued" for _, what in known):
        return
    try:
        message = Message.decode(rows[0].payload)
        made = datetime.fromtimestamp(made_at(message.message_timestamp, message.options) / 1000, UTC)
    except (DecodeError, OSError, OverflowError, ValueError):
        return
    first = min(at for at, _ in known)
    if (made - first).total_seconds() < SAME_S:  # what is calculated from milliseconds may be some too early
        yield min(made, first), "enqueued"
