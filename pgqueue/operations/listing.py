"""Lists messages page by page: whatever the size of the queue, a page costs what it shows, or stops at a bound.

A page's end is told as a cursor, an opaque word that names the place. Pages stay right while messages come and go.
"""

import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any

from ..errors import PgQueueError
from ..storage import lanes, listings, retention, whereabouts
from ..storage.database import Connection, Database
from ..storage.listings import Listed, Place, Row
from ..storage.searching import SEARCHED_BYTES
from ..storage.statements import Statements
from .naming import checked_name

#: What can be asked for, in the order in which a list has it.
STATES = ("running", "queued", "parked", "scheduled", "done", "failed", "cancelled")

#: The states in which a message can still run: what a list shows unless told otherwise.
LIVE = STATES[:4]

#: Rows read at once, and the most that are looked at for a page in which few of them fit.
CHUNK, MOST_LOOKED_AT = 500, 10_000

#: The same where a text is looked for in messages, and for how many seconds at most.
MOST_SEARCHED, SEARCH_S = 10_000, 1.0

#: Blocks of outcomes that are read at once, some 80 rows each; the most that are searched for a page; how many windows
#: of two hours are kept.
BLOCKS, MOST_BLOCKS, WINDOWS = 64, 4_096, retention.OUTCOME_SLICES - 1

#: The most blocks where a text is looked for: a failed message's dead letter is looked up.
MOST_SEARCHED_BLOCKS = 128

#: Seconds by which an end may lie outside its window: instants are rounded.
SLACK_S = 60.0

#: The greatest number that PostgreSQL gives a row, a block of a table, and a row of a block.
MOST_NUMBER, MOST_BLOCK, MOST_LINE = 2**63 - 1, 2**32 - 1, 2**16 - 1

_STATUS = {"done": "d", "failed": "f", "cancelled": "c"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).isoformat()


class BadCursor(PgQueueError):
    """A cursor is none that a list has given out."""


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages are meant: all those that fit everything that is given.

    Attributes:
      since: Not before then (ready, claimed, parked, due or finished, by the state).
      until: Before then.
      error: Part of the error's text, in upper or lower case; only ended messages have one.
      search: Part of what a message was sent with (arguments, options, the traceback of its last attempt), or of the
        error with which it ended; in upper or lower case.
      hidden: Of which actors nobody may learn what is in their messages; none of them fits an ``error`` or ``search``.
      carries_hidden: Says of a message's bytes whether there is something of such an actor in them; then it does not
        fit a ``search`` that only they fit. Nor does any other that is not searched whole.
    """

    states: tuple[str, ...] = LIVE
    queue_name: str | None = None
    actor_name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    search: str | None = None
    hidden: Callable[[str], bool] | None = field(default=None, compare=False)
    carries_hidden: Callable[[bytes], bool] | None = field(default=None, compare=False)

    def fits(self, message: Listed) -> bool:
        """Whether a message of one of the states is meant."""
        return (
            self.queue_name in {None, message.queue_name}
            and self.actor_name in {None, message.actor_name}
            and (self.since is None or message.since >= self.since)
            and (self.until is None or message.since < self.until)
            and (self.error is None or self.error.lower() in (message.error or "").lower())
            and not self._conceals(message.actor_name)
        )

    def _conceals(self, actor_name: str) -> bool:
        asked = self.error is not None or self.search is not None
        return asked and self.hidden is not None and self.hidden(actor_name)

    def may_end_in(self, window: int) -> bool:
        """Whether a message that ended in a window of outcomes can be meant."""
        begin_s = window * retention.OUTCOME_WIDTH_S
        after = self.since is None or self.since.timestamp() < begin_s + retention.OUTCOME_WIDTH_S + SLACK_S
        return after and (self.until is None or self.until.timestamp() > begin_s - SLACK_S)


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list; ``cursor`` leads to the next, None: this is the last.

    A page may be short, or even empty, and not the last: few of many messages fitted. Then it is ``capped``.
    """

    messages: list[Listed]
    cursor: str | None
    capped: bool = False


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows that were read; without any, ``place`` is where to go on, None: at the next source.

    Attributes:
      blocks: How many blocks were searched for them; 0: every row that was looked at is among them.
    """

    rows: list[Row]
    place: Place | None = None
    blocks: int = 0


Fetch = Callable[[Place, int], _Chunk]


@dataclass(frozen=True, slots=True)
class _Source:
    """A part of a list with an order of its own: where it begins, and how to go on after a place of it."""

    name: str
    start: Place
    fetch: Fetch


def list_messages(
    database: Database,
    which: MessageFilter,
    *,
    limit: int = 50,
    cursor: str | None = None,
    most_blocks: int | None = None,
) -> Page:
    """A page of messages: held ones, ready ones in the order in which they run, parked, scheduled, ended ones.

    Parameters:
      most_blocks: The most blocks of outcomes that are searched; `MOST_BLOCKS` unless given.

    Raises:
      BadCursor: ``cursor`` was not given out by a list of these states.
    """
    with database.bounded() as conn:
        sources = list(_sources(conn, database.statements, which))
        first, place = _read(cursor, sources)
        bounds = _Bounds(MOST_LOOKED_AT, MOST_BLOCKS if most_blocks is None else most_blocks)
        if which.search is not None:
            bounds = _Bounds(
                MOST_SEARCHED, min(bounds.blocks, MOST_SEARCHED_BLOCKS), time.monotonic() + SEARCH_S
            )
        return _fill(sources[first:], place, which, limit, bounds, partial(_concealed, conn, database, which))


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Where looking for a page ends: after so many rows, so many blocks of outcomes, and at an instant."""

    rows: int
    blocks: int
    until: float = inf

    def are_reached(self, rows: int, blocks: int) -> bool:
        return rows >= self.rows or blocks >= self.blocks or time.monotonic() >= self.until


def _fill(
    sources: list[_Source],
    place: Place | None,
    which: MessageFilter,
    limit: int,
    bounds: _Bounds,
    concealed: Callable[[list[Listed]], set[str]],
) -> Page:
    found: list[Listed] = []
    looked_at = searched = 0
    for source, chunk, end in _chunks(sources, place):
        fitting = [message for message, _ in chunk.rows if message is not None and which.fits(message)]
        unseen = concealed(fitting)
        for message, at in chunk.rows:
            if message is not None and which.fits(message) and message.message_id not in unseen:
                found.append(message)
            if len(found) == limit:
                return Page(found, _write(source, at))
        looked_at += len(chunk.rows)
        searched += chunk.blocks
        if bounds.are_reached(looked_at, searched):
            return Page(found, _write(source, end), capped=True)
    return Page(found, None)


def _concealed(conn: Connection, database: Database, which: MessageFilter, found: list[Listed]) -> set[str]:
    """Ids of messages that were found by what may be a redacted actor's in them."""
    if which.search is None or which.carries_hidden is None:
        return set()
    text = which.search.lower()
    doubtful = {message.message_id for message in found if text not in (message.error or "").lower()}
    if not doubtful:
        return set()
    payloads = whereabouts.payloads_of(
        conn, database.statements, message_ids=sorted(doubtful), most_bytes=SEARCHED_BYTES
    )
    # What has ended, or has been deleted, since it was found is as if it had not been there.
    return {
        id_
        for id_ in doubtful
        if id_ not in payloads or any(data is None or which.carries_hidden(data) for data in payloads[id_])
    }


def _chunks(sources: list[_Source], place: Place | None) -> Iterator[tuple[_Source, _Chunk, Place]]:
    """What the sources hold after a place of the first, with the place at which each chunk ends."""
    for source in sources:
        at: Place | None = source.start if place is None else place
        place = None
        while at is not None:
            chunk = source.fetch(at, CHUNK)
            at = chunk.rows[-1][1] if chunk.rows else chunk.place
            if at is not None:
                yield source, chunk, at


def _whole(read: Callable[[Place, int], list[Row]]) -> Fetch:
    """A source of which every row that was looked at is answered."""

    def fetch(at: Place, n: int) -> _Chunk:
        return _Chunk(read(at, n))

    return fetch


def _sources(conn: Connection, statements: Statements, which: MessageFilter) -> Iterator[_Source]:
    def source(name: str, start: Place, read: Callable[..., list[Row]]) -> _Source:
        return _Source(
            name, start, _whole(lambda at, n: read(conn, statements, after=at, limit=n, search=which.search))
        )

    if "running" in which.states:
        yield source("running", (0,), listings.list_held)
    if "queued" in which.states:
        yield from _ready(conn, statements, which)
    if "parked" in which.states:
        yield source("parked", ("", 0), listings.list_parked)
    if "scheduled" in which.states:
        yield source("scheduled", (_EPOCH, 0), listings.list_scheduled)
    statuses = [_STATUS[state] for state in which.states if state in _STATUS]
    if statuses:
        yield from _ended(conn, statements, which, statuses)


def _ready(conn: Connection, statements: Statements, which: MessageFilter) -> Iterator[_Source]:
    known = lanes.list_lanes(conn, statements)
    wanted = [lane for lane in known if which.queue_name in {None, lane.queue_name}]
    for lane in sorted(wanted, key=lambda lane: (lane.priority, lane.queue_name)):
        key = (lane.id, lane.queue_name, lane.priority)

        def read(at: Place, n: int, lane: tuple[int, str, int] = key) -> list[Row]:
            return listings.list_ready(conn, statements, lane=lane, after=at, limit=n, search=which.search)

        yield _Source(f"queued {lane.id}", (0, 0), _whole(read))


def _ended(
    conn: Connection, statements: Statements, which: MessageFilter, statuses: list[str]
) -> Iterator[_Source]:
    newest = retention.now_s(conn, statements) // retention.OUTCOME_WIDTH_S
    for window in range(newest, newest - WINDOWS, -1):
        slice_ = window % retention.OUTCOME_SLICES
        blocks = listings.outcome_blocks(conn, statements, slice_=slice_) if which.may_end_in(window) else 0
        if not blocks:
            continue

        def fetch(at: Place, n: int, slice_: int = slice_) -> _Chunk:
            until = (int(at[0]), int(at[1]))
            if until == (0, 0):
                return _Chunk([])
            # What stands before line 0 of a block lies in the blocks before it.
            from_block = max(0, until[0] - BLOCKS)
            rows = listings.list_outcomes(
                conn, statements, slice_=slice_, from_block=from_block, until=until, statuses=statuses,
                queue_name=which.queue_name, actor_name=which.actor_name, error=which.error, limit=n,
                search=which.search,
            )  # fmt: skip
            # Rows that fill a chunk may lie in its first blocks: the others were not reached.
            return _Chunk(rows, (from_block, 0), 0 if len(rows) == n else until[0] - from_block)

        yield _Source(f"ended {window}", (blocks, 0), fetch)


def _write(source: _Source, at: Place) -> str:
    return urlsafe_b64encode(json.dumps([source.name, *at]).encode()).decode().rstrip("=")


def _read(cursor: str | None, sources: list[_Source]) -> tuple[int, Place | None]:
    """Which source a cursor leads to, and the place in it."""
    if cursor is None:
        return 0, None
    try:
        name, *at = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        number = next(n for n, source in enumerate(sources) if source.name == name)
        return number, _checked(at, sources[number])
    except (ValueError, TypeError, OverflowError, RecursionError, StopIteration) as error:
        raise BadCursor(
            f"{cursor[:100]!r} is no place in this list: begin without it, or take the one that the page before has "
            "given."
        ) from error


def _checked(at: list[Any], source: _Source) -> Place:
    """A place of a source that the database takes for one; ValueError, OverflowError: it would not."""
    if [type(part) for part in at] != [type(part) for part in source.start]:
        raise ValueError(at)
    if source.name == "scheduled":
        due_at = datetime.fromisoformat(at[0])
        if due_at.tzinfo is None:
            raise ValueError(at)
        at[0] = due_at.astimezone(UTC).isoformat()
    most = (MOST_BLOCK, MOST_LINE) if source.name.startswith("ended ") else (MOST_NUMBER, MOST_NUMBER)
    for part, limit in zip(at, most, strict=False):
        if isinstance(part, str):
            checked_name(part)
        elif not 0 <= part <= limit:
            raise ValueError(at)
    return tuple(at)
