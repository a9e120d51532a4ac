"""How fast queues work and how long messages take, out of what ended lately: rates, failures, percentiles.

Outcomes lie in the order of their commits, without an index by time. The first block of a span of time is found by
bisection; of the blocks since then at most `MOST_BLOCKS` are read, evenly spread. Whatever the load, that is what it
costs, and up to about eight thousand messages it is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..storage import listings, outcomes, retention
from ..storage.database import Connection, Database
from ..storage.outcomes import Ended, Latency

#: Blocks of outcomes, of some 80 rows each, that are read at most.
MOST_BLOCKS = 96

#: Seconds by which an end may lie in the window before its own: instants are rounded.
SLACK_S = 1.0

_WAYS = {"d": "done", "f": "failed", "c": "cancelled"}


@dataclass(frozen=True, slots=True)
class Pace:
    """What ended in a span of time, by buckets.

    Attributes:
      until_s: When the span ends, in seconds since 1970 by the server's clock; it lasts ``window_s``.
      width_s: Seconds of a bucket.
      exact: Whether every end was counted; otherwise the numbers are estimates from a sample.
      ended: Numbers for each bucket, the oldest first, by queue and then by ``done``, ``failed`` and ``cancelled``.
    """

    until_s: float
    window_s: float
    width_s: float
    exact: bool
    ended: dict[str, dict[str, list[float]]]

    def total(self, way: str, queue_name: str | None = None) -> list[float]:
        """Numbers for each bucket of one kind of end, of a queue or of all."""
        chosen = [
            ways[way] for name, ways in self.ended.items() if queue_name in {None, name} and way in ways
        ]
        return [sum(numbers) for numbers in zip(*chosen, strict=True)] or [0.0] * self.buckets

    def rate(self, way: str, queue_name: str | None = None, *, last: int) -> float:
        """Messages a second over the last buckets."""
        return sum(self.total(way, queue_name)[-last:]) / (last * self.width_s)

    @property
    def buckets(self) -> int:
        """How many buckets there are."""
        return round(self.window_s / self.width_s)


@dataclass(frozen=True, slots=True)
class Times:
    """Percentiles of queues and of actors, out of a sample.

    Attributes:
      scale: How many messages each one that was looked at stands for; 1: all were.
    """

    window_s: float
    scale: int
    rows: list[Latency]

    def of_queue(self, name: str) -> Latency | None:
        """A queue's, if anything of it has ended."""
        return next((row for row in self.rows if row.queue_name == name and row.actor_name is None), None)

    @property
    def of_actors(self) -> list[Latency]:
        """Those of each actor in each queue."""
        return [row for row in self.rows if row.actor_name is not None]


@dataclass(frozen=True, slots=True)
class _Sample:
    """Blocks to read by slice, the older slice first, and how many blocks each of them stands for."""

    since_s: float
    step: int
    blocks: dict[int, Sequence[int]]


def measure(database: Database, *, window_s: float, buckets: int) -> Pace:
    """Count what ended in the last ``window_s`` seconds."""
    with database.bounded() as conn:
        until_s = retention.now_s(conn, database.statements) + 1.0
        sample = _sample(conn, database, until_s - window_s)
        ends = [
            outcomes.pace(
                conn, database.statements, slice_=slice_, blocks=blocks, since_s=sample.since_s,
                width_s=window_s / buckets,
            )
            for slice_, blocks in sample.blocks.items()
        ]  # fmt: skip
    counted = _exact(ends, buckets) if sample.step == 1 else _spread(ends, sample, until_s, buckets)
    return Pace(until_s, window_s, window_s / buckets, sample.step == 1, counted)


def times(database: Database, *, window_s: float) -> Times:
    """Percentiles of what ended in the last ``window_s`` seconds."""
    with database.bounded() as conn:
        now_s = retention.now_s(conn, database.statements)
        sample = _sample(conn, database, now_s - window_s)
        if not sample.blocks:
            return Times(window_s, 1, [])
        rows = outcomes.latency(conn, database.statements, blocks=sample.blocks, since_s=sample.since_s)
    return Times(window_s, sample.step, rows)


# ── Which blocks ──────────────────────────────────────────────────────────────────────────────────


def _sample(conn: Connection, database: Database, since_s: float) -> _Sample:
    ranges = dict(_ranges(conn, database, since_s))
    step = max(1, -(-sum(map(len, ranges.values())) // MOST_BLOCKS))
    return _Sample(since_s, step, {slice_: blocks[::step] for slice_, blocks in ranges.items()})


def _ranges(conn: Connection, database: Database, since_s: float) -> Iterator[tuple[int, range]]:
    """The blocks in which something may lie that ended since then, by slice."""
    newest = retention.now_s(conn, database.statements) // retention.OUTCOME_WIDTH_S
    oldest = int(since_s - SLACK_S) // retention.OUTCOME_WIDTH_S
    for window in range(max(oldest, newest - retention.OUTCOMES_KEPT), newest + 1):
        slice_ = window % retention.OUTCOME_SLICES
        blocks = listings.outcome_blocks(conn, database.statements, slice_=slice_)
        first = _first_since(conn, database, slice_, blocks, since_s)
        if first < blocks:
            yield slice_, range(first, blocks)


def _first_since(conn: Connection, database: Database, slice_: int, blocks: int, since_s: float) -> int:
    """The block before the first that begins later: neighbours are in order, near enough."""
    low, high = 0, blocks
    while low < high:
        middle = (low + high) // 2
        begins = outcomes.block_begins(conn, database.statements, slice_=slice_, block=middle)
        if begins is None or begins.timestamp() < since_s:
            low = middle + 1
        else:
            high = middle
    return max(0, low - 1) if blocks else 0


# ── What they tell ────────────────────────────────────────────────────────────────────────────────


def _exact(parts: list[list[Ended]], buckets: int) -> dict[str, dict[str, list[float]]]:
    counted = _Counted(buckets)
    for ends in parts:
        for end in ends:
            # What ended after we looked at the clock belongs to the last bucket.
            counted.of(end)[min(max(end.bucket, 0), buckets - 1)] += end.count
    return counted.numbers


def _spread(
    parts: list[list[Ended]], sample: _Sample, until_s: float, buckets: int
) -> dict[str, dict[str, list[float]]]:
    """Each block that was read stands for those up to the next one that was, over the time between both."""
    counted = _Counted(buckets)
    width_s = (until_s - sample.since_s) / buckets
    begins: list[tuple[float, list[Ended]]] = []
    for ends in parts:
        by_block: dict[int, list[Ended]] = defaultdict(list)
        for end in ends:
            by_block[end.block].append(end)
        begins += [(min(end.first_s for end in some), some) for some in by_block.values()]
    begins.sort(key=lambda pair: pair[0])
    for (begin_s, ends), (end_s, _) in zip(begins, [*begins[1:], (until_s, [])], strict=True):
        shares = list(_shares(begin_s - sample.since_s, end_s - sample.since_s, width_s, buckets))
        for end in ends:
            numbers = counted.of(end)
            for bucket, share in shares:
                numbers[bucket] += end.count * sample.step * share
    return counted.numbers


def _shares(begin_s: float, end_s: float, width_s: float, buckets: int) -> Iterator[tuple[int, float]]:
    """The buckets over which a span of time lies, and the part of it in each."""
    first = min(max(int(begin_s / width_s), 0), buckets - 1)
    last = min(max(int(end_s / width_s), first), buckets - 1)
    length_s = end_s - begin_s
    if first == last or length_s <= 0:
        yield first, 1.0
        return
    for bucket in range(first, last + 1):
        begins = begin_s if bucket == first else bucket * width_s
        ends = end_s if bucket == last else (bucket + 1) * width_s
        yield bucket, (ends - begins) / length_s


class _Counted:
    """Numbers by queue, kind of end and bucket."""

    def __init__(self, buckets: int) -> None:
        self.numbers: dict[str, dict[str, list[float]]] = {}
        self._buckets = buckets

    def of(self, end: Ended) -> list[float]:
        """The buckets of a queue's ends of one kind."""
        ways = self.numbers.setdefault(end.queue_name, {})
        return ways.setdefault(_WAYS[end.status], [0.0] * self._buckets)
