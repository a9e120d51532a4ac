"""Where a fetcher is in each lane, so that no claim reads a dead row twice and none misses a late commit.

Rows of a lane are ordered by ``(xid, id)``, xid being the transaction that made them ready. A claim that saw the end of
a lane knows that everything below its snapshot's ``xmax`` is taken, but for what the transactions that were undecided
may still commit. So a track is a position plus those transactions: the position moves on, each of them is looked at
again once it is decided. Nothing is estimated, and nothing here touches the clock or the database. One case is left to
`Positions.forget`: a claim that was rolled back leaves rows behind the positions of those who skipped them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from .snapshot import Snapshot

#: Above every transaction id and message id.
INFINITY = 2**63 - 1

#: How many undecided transactions a track remembers; above, the position waits for the youngest of them instead.
MAX_UNDECIDED = 64

#: Up to this many undecided transactions are probed on the chance that they were decided a moment ago.
FEW_UNDECIDED = 4


@dataclass(frozen=True, slots=True)
class Span:
    """A range of one lane in one slot: from ``after`` (exclusive) to the end of transaction ``upto_xid``."""

    slot: int
    lane: int
    after: tuple[int, int]
    upto_xid: int = INFINITY


@dataclass(slots=True)
class _Track:
    after: tuple[int, int] = (0, 0)
    #: Transactions that may still bring rows below ``after``, each with the last id already taken of it.
    undecided: dict[int, int] = field(default_factory=dict)


class Positions:
    """The tracks of one fetcher; they are worth nothing to another database session."""

    def __init__(self, *, max_undecided: int = MAX_UNDECIDED) -> None:
        self._tracks: dict[tuple[int, int], _Track] = {}
        self._seen = Snapshot(0, frozenset())
        self._max_undecided = max_undecided

    def forget(self) -> None:
        """Begin all lanes anew, for instance because rows came back behind the positions."""
        self._tracks.clear()

    def keep(self, slots: Collection[int]) -> None:
        """Drop the tracks of all slots but these; the others are empty, and begin anew when they are used again."""
        self._tracks = {key: track for key, track in self._tracks.items() if key[1] in slots}

    def waiting_for(self, lanes: Collection[int] | None = None) -> set[int]:
        """The transactions that may still bring rows behind a position, in some lanes or in all of them."""
        tracks = [track for key, track in self._tracks.items() if lanes is None or key[0] in lanes]
        return set().union(*(track.undecided for track in tracks))

    def plan(self, lanes: Iterable[int], slots: Sequence[int]) -> list[Span]:
        """The ranges that may hold rows: lanes in the order given, in each the slots in the order given."""
        return [span for lane in lanes for slot in slots for span in self._spans(lane, slot)]

    def advance(
        self, spans: Sequence[Span], snapshot: Snapshot, *, stopped_at: tuple[int, tuple[int, int]] | None
    ) -> None:
        """Take in the answer to a claim.

        Parameters:
          spans: What the claim was given, in that order.
          snapshot: What it could see.
          stopped_at: None if it saw the end of every span; else the index of the span in which it had enough, and the
            last ``(xid, id)`` that it took there. Later spans were not looked at.
        """
        self._seen = snapshot
        end = len(spans) if stopped_at is None else stopped_at[0]
        for span in spans[:end]:
            self._exhaust(span, snapshot)
        if stopped_at is not None:
            self._stop(spans[end], snapshot, stopped_at[1])

    def _spans(self, lane: int, slot: int) -> list[Span]:
        track = self._tracks.get((lane, slot))
        if track is None:
            return [Span(slot, lane, (0, 0))]
        probes = [
            Span(slot, lane, (xid, reached), xid)
            for xid, reached in sorted(track.undecided.items())
            if self._worth_a_probe(track, xid)
        ]
        return [*probes, Span(slot, lane, track.after)]

    def _worth_a_probe(self, track: _Track, xid: int) -> bool:
        return len(track.undecided) <= FEW_UNDECIDED or self._seen.decided(xid)

    def _exhaust(self, span: Span, snapshot: Snapshot) -> None:
        track = self._track(span)
        if span.upto_xid != INFINITY:
            if snapshot.decided(span.upto_xid):
                track.undecided.pop(span.upto_xid, None)
            return
        self._remember(track, snapshot, span.after[0], snapshot.xmax)
        track.after = max(track.after, (snapshot.xmax - 1, INFINITY))
        self._fold(track)

    def _stop(self, span: Span, snapshot: Snapshot, last: tuple[int, int]) -> None:
        track = self._track(span)
        if span.upto_xid != INFINITY:
            track.undecided[span.upto_xid] = last[1]
            return
        self._remember(track, snapshot, span.after[0], last[0])
        track.after = max(track.after, last)
        self._fold(track)

    @staticmethod
    def _remember(track: _Track, snapshot: Snapshot, first: int, end: int) -> None:
        for xid in snapshot.undecided:
            if first <= xid < end:
                track.undecided.setdefault(xid, 0)

    def _fold(self, track: _Track) -> None:
        if len(track.undecided) > self._max_undecided:
            kept = sorted(track.undecided)
            first_folded = kept[self._max_undecided]
            track.undecided = {xid: track.undecided[xid] for xid in kept[: self._max_undecided]}
            track.after = min(track.after, (first_folded - 1, INFINITY))

    def _track(self, span: Span) -> _Track:
        return self._tracks.setdefault((span.lane, span.slot), _Track())
