"""How many messages come into each queue: nobody counts, but its depth has changed, and something ended meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..operations.overview import MOST_COUNTED, QueueState
from ..operations.pace import Pace
from .history import INTERVAL_S, Look

__all__ = ["Arrivals", "arrivals"]

#: A rate is that of so many seconds, or of a bucket where those are longer.
SPAN_S = 60.0

#: A depth is known at an instant if somebody looked so many seconds before and after it, at most.
NEAR_S = 3 * INTERVAL_S

#: A depth and when it was seen; None: too much to be counted.
Seen = tuple[float, int | None]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What came into a queue.

    Attributes:
      rate: Messages a second lately; None where it can't be told: nobody has looked for long enough, or too much waits
        to be counted.
      numbers: Messages in each bucket of the span, the oldest first.
    """

    rate: float | None
    numbers: list[float | None]


def arrivals(looks: Sequence[Look], measured: Pace) -> dict[str, Arrivals]:
    """What came into each queue, out of looks in their order and of what has ended until the last of them."""
    if not looks:
        return {}
    depths = _depths(looks)
    rates = _rates(looks, depths, measured)
    return {name: Arrivals(rates[name], _numbers(depths[name], name, measured)) for name in depths}


def _depths(looks: Sequence[Look]) -> dict[str, list[Seen]]:
    """How deep each queue was at each look; a queue that was not there yet was empty."""
    kinds = _kinds(looks)
    depths: dict[str, list[Seen]] = {queue.name: [] for queue in looks[-1].state.queues}
    for look in looks:
        at_once = {queue.name: queue for queue in look.state.queues}
        for name, seen in depths.items():
            seen.append((look.at_s, _depth(at_once[name], kinds) if name in at_once else 0))
    return depths


def _kinds(looks: Sequence[Look]) -> tuple[str, ...]:
    """What a depth is made of. Scheduled messages of a queue are counted among the next of all queues."""
    counted = all(look.depth("scheduled") < MOST_COUNTED for look in looks)
    return ("ready", "running", "parked", *(("scheduled",) if counted else ()))


def _depth(queue: QueueState, kinds: tuple[str, ...]) -> int | None:
    """How many messages of a queue could still run; None: too many to be counted."""
    counts = [getattr(queue, kind) for kind in kinds]
    return None if max(counts) >= MOST_COUNTED else sum(counts)


def _ended(measured: Pace, name: str) -> list[float]:
    ways = [measured.total(way, name) for way in ("done", "failed", "cancelled")]
    return [sum(numbers) for numbers in zip(*ways, strict=True)]


# ── Lately ────────────────────────────────────────────────────────────────────────────────────────


def _rates(looks: Sequence[Look], depths: dict[str, list[Seen]], measured: Pace) -> dict[str, float | None]:
    last = min(measured.buckets, max(1, round(SPAN_S / measured.width_s)))
    recent = [n for n, look in enumerate(looks) if look.at_s >= looks[-1].at_s - last * measured.width_s]
    first, seconds = recent[0], looks[-1].at_s - looks[recent[0]].at_s
    if seconds < 1.0:
        return dict.fromkeys(depths, None)
    rates: dict[str, float | None] = {}
    for name, seen in depths.items():
        before, after = seen[first][1], seen[-1][1]
        ended = sum(_ended(measured, name)[-last:]) / (last * measured.width_s)
        if before is None or after is None:
            rates[name] = None
        else:
            rates[name] = max(0.0, (after - before) / seconds + ended)
    _complete(rates, max(0.0, (looks[-1].sent - looks[first].sent) / seconds))
    return rates


def _complete(rates: dict[str, float | None], total: float) -> None:
    """All that came in is known: what is left of it belongs to the only queue that is too deep to be counted."""
    unknown = [name for name, rate in rates.items() if rate is None]
    if len(unknown) == 1:
        rates[unknown[0]] = max(0.0, total - sum(rate for rate in rates.values() if rate is not None))


# ── In each bucket ────────────────────────────────────────────────────────────────────────────────


def _numbers(seen: Sequence[Seen], name: str, measured: Pace) -> list[float | None]:
    until_s = seen[-1][0]
    borders = [until_s - (measured.buckets - n) * measured.width_s for n in range(measured.buckets + 1)]
    depths = [_at(seen, border) for border in borders]
    return [
        None if before is None or after is None else max(0.0, after - before + ended)
        for before, after, ended in zip(depths[:-1], depths[1:], _ended(measured, name), strict=True)
    ]


def _at(seen: Sequence[Seen], at_s: float) -> float | None:
    """The depth at an instant, in a line between the looks before and after it."""
    before = next((look for look in reversed(seen) if look[0] <= at_s), None)
    after = next((look for look in seen if look[0] >= at_s), None)
    if before is None or after is None or before[1] is None or after[1] is None:
        return None
    if at_s - before[0] > NEAR_S or after[0] - at_s > NEAR_S:
        return None
    share = 0.0 if after[0] == before[0] else (at_s - before[0]) / (after[0] - before[0])
    return before[1] + share * (after[1] - before[1])
