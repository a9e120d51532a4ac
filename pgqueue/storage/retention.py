"""How long things are kept: which slices of outcomes, attempts and results are over, and old dead letters.

A row of outcomes lies in the slice of the two hours in which the message finished, a failed attempt in that of its day,
a result in that of the ten minutes or the day in which it expires; the slices are used in turns, as settle.sql,
reclaim.sql and results/store.sql compute.
"""

from collections.abc import Iterator
from math import ceil

from .database import Connection
from .statements import Statements

#: Width in seconds and number of the slices: outcomes, results that live up to two hours, up to twelve days.
OUTCOME_WIDTH_S, OUTCOME_SLICES, OUTCOMES_KEPT = 7_200, 16, 12
SHORT_WIDTH_S, SHORT_SLICES, SHORT_TTL_WIDTHS = 600, 16, 12
LONG_WIDTH_S, LONG_SLICES, LONG_TTL_WIDTHS = 86_400, 16, 12
LONG_TTL_MS = LONG_TTL_WIDTHS * LONG_WIDTH_S * 1000

#: Of failed attempts, which are kept as long as dead letters, but for so many days at most.
ATTEMPT_WIDTH_S, ATTEMPT_SLICES, ATTEMPTS_KEPT = 86_400, 16, 12

#: The slice of results that live longer still.
LONGEST = SHORT_SLICES + LONG_SLICES


def expired_slices(now_s: int) -> Iterator[tuple[str, int]]:
    """The slices, as (table, number), in which every row has outlived its time.

    Not among them is a slice that is written to from the next window on: instants are rounded, and the window may end
    between the look at the clock and the TRUNCATE.
    """
    window = now_s // OUTCOME_WIDTH_S
    for age in range(OUTCOMES_KEPT + 1, OUTCOME_SLICES - 1):
        yield "outcomes", (window - age) % OUTCOME_SLICES
    yield from _expired_results(now_s, SHORT_WIDTH_S, SHORT_SLICES, SHORT_TTL_WIDTHS, first=0)
    yield from _expired_results(now_s, LONG_WIDTH_S, LONG_SLICES, LONG_TTL_WIDTHS, first=SHORT_SLICES)


def expired_attempts(now_s: int, *, ttl_s: float) -> Iterator[tuple[str, int]]:
    """The same of attempts, which are kept for ``ttl_s`` as dead letters are, for a day at least and twelve at most."""
    kept = min(max(1, ceil(ttl_s / ATTEMPT_WIDTH_S)), ATTEMPTS_KEPT)
    window = now_s // ATTEMPT_WIDTH_S
    for age in range(kept + 1, ATTEMPT_SLICES - 1):
        yield "attempts", (window - age) % ATTEMPT_SLICES


def _expired_results(
    now_s: int, width_s: int, number: int, ttl_widths: int, *, first: int
) -> Iterator[tuple[str, int]]:
    # A result expires at the latest in the slice ttl_widths ahead; one more for the rounding, one for the next window.
    window = now_s // width_s
    for ahead in range(ttl_widths + 3, number):
        yield "results", first + (window + ahead) % number


def outlived(conn: Connection, statements: Statements, *, for_s: int) -> list[tuple[str, int]]:
    """The slices that should have been emptied ``for_s`` seconds ago and hold rows."""
    now = now_s(conn, statements)
    longest_s = ATTEMPTS_KEPT * ATTEMPT_WIDTH_S
    before = {*expired_slices(now - for_s), *expired_attempts(now - for_s, ttl_s=longest_s)}
    return [
        (table, slice_)
        for table, slice_ in (*expired_slices(now), *expired_attempts(now, ttl_s=longest_s))
        if (table, slice_) in before and holds_rows(conn, statements, table=table, slice_=slice_)
    ]


def now_s(conn: Connection, statements: Statements) -> int:
    """The server's clock, in seconds since 1970."""
    row = conn.execute(statements["retention/now"]).fetchone()
    return int(row[0]) if row else 0


def holds_rows(conn: Connection, statements: Statements, *, table: str, slice_: int) -> bool:
    """Whether a slice was written since it was last emptied."""
    row = conn.execute(statements.for_slots(f"{table}/holds_rows", (slice_,))).fetchone()
    return bool(row and row[0])


def truncate_slice(conn: Connection, statements: Statements, *, table: str, slice_: int) -> None:
    """Empty a slice."""
    conn.execute(statements.for_slots(f"{table}/truncate_slice", (slice_,)))


def purge_dead_letters(conn: Connection, statements: Statements, *, ttl_s: float, limit: int) -> int:
    """Delete dead letters older than ``ttl_s``; return how many."""
    return conn.execute(statements["dead_letters/purge"], {"ttl_s": ttl_s, "limit": limit}).rowcount


def purge_long_results(conn: Connection, statements: Statements, *, limit: int) -> int:
    """Delete expired results of the slice that is never emptied as a whole; return how many."""
    text = statements.for_slots("results/purge_slice", (LONGEST,))
    return conn.execute(text, {"limit": limit}).rowcount
