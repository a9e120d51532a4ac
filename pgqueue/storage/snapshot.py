"""What a statement could see: PostgreSQL's ``pg_current_snapshot()`` in Python."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transactions that a statement saw as undecided.

    Every transaction below ``xmax`` that is not in ``undecided`` had committed or rolled back; nothing of ``xmax`` or
    above can have been seen. Subtransactions do not appear: rows carry their top-level transaction.
    """

    xmax: int
    undecided: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Read the server's text form, ``xmin:xmax:xip,xip…``."""
        _, xmax, undecided = text.split(":")
        return cls(int(xmax), frozenset(map(int, undecided.split(","))) if undecided else frozenset())

    def decided(self, xid: int) -> bool:
        """Whether ``xid`` had committed or rolled back."""
        return xid < self.xmax and xid not in self.undecided
