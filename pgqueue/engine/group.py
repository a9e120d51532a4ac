"""A group of verdicts on its way, and how it has fared: how many are tried at once, and which of them is to blame.

What is refused with others is tried again in ever smaller parts, in the end alone, each in its turn. So the others get
through, and one that is too large, or that takes the server's time or its process, is found.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from ..storage.answering import NoAnswer
from ..storage.database import Connection, is_lost
from ..storage.messages import Verdict
from .backoff import Backoff
from .refused import is_in_trouble

#: The most verdicts in one commit.
BATCH = 500

#: How often in a row a group may fail before it is tried in parts, and those of one verdict before they are put off.
PATIENCE = 3

#: How often one verdict alone may fail, each time after others had been written.
MOST_FAILURES = 5

#: Seconds until what was put off is tried again, at first and at most: others are written meanwhile.
AGAIN_S, RARELY_S = 0.5, 30.0

#: A look at the leases of an owner: which of some verdicts are still to be written.
Look = Callable[[Connection, UUID, list[Verdict]], list[Verdict]]


@dataclass(slots=True)
class Group:
    """Verdicts on messages of one owner.

    Attributes:
      left: Those that are still to be written, in their order.
      after_refusal: The look that a refusal asks for.
      has_lost: A connection was lost that may commit some of them yet, and the look is one for that.
      most: How many are written at once.
      look: What is to be done before the next attempt.
      failed: The last attempt failed: wait before the next.
      refusals: Attempts in a row of which nothing was accepted.
      due_at: When it is tried again if it was put off, on the monotonic clock.
      written_before: How often the acker had written when it was put off.
      alone: The ids of those that have failed alone: they are tried again when the others are written.
      blamed: By a message's id, how often it alone has failed, and how often the acker had written then.
    """

    owner: UUID
    left: list[Verdict]
    after_refusal: Look
    most: int = BATCH
    look: Look | None = None
    failed: bool = False
    has_lost: bool = False
    refusals: int = 0
    due_at: float = 0.0
    written_before: int = 0
    alone: set[int] = field(default_factory=set)
    blamed: dict[int, tuple[int, int]] = field(default_factory=dict)
    _failures: int = 0
    _in_parts: bool = False
    _rarely: Backoff = field(default_factory=lambda: Backoff(first_s=AGAIN_S, most_s=RARELY_S))

    def part(self) -> list[Verdict]:
        """What is to be written next."""
        return self.left[: min(self.most, self._others() or len(self.left))]

    def _others(self) -> int:
        """How many have not failed alone: they come first."""
        return sum(verdict.message.id not in self.alone for verdict in self.left)

    def accepted(self, ids: set[int]) -> None:
        """Take in which of a part were accepted; those that were not come first."""
        self.refusals = 0 if ids else self.refusals + 1
        self._failures = 0
        if ids:
            self.most = min(self.most * 2, BATCH)
            self.left = [verdict for verdict in self.left if verdict.message.id not in ids]
            self.alone -= ids
            self.blamed = {id_: times for id_, times in self.blamed.items() if id_ not in ids}

    def shrink(self, part: list[Verdict], *, at_once: bool) -> None:
        """Take in that a part of several failed."""
        self._failures += 1
        if at_once or self._in_parts or self._failures >= PATIENCE:
            self.most, self._failures, self._in_parts = len(part) // 2, 0, True

    def turn(self, *, at_once: bool = False) -> bool:
        """Take in that the first one failed alone: the next is tried. Answer whether all that are left are put off."""
        self.most = 1
        self._failures += 1
        self.alone.add(self.left[0].message.id)
        self.left = self.left[1:] + self.left[:1]
        return self._failures >= PATIENCE or (at_once and not self._others())

    def blames(self, verdict: Verdict, error: Exception, *, written: int) -> bool:
        """Whether it is for this verdict, which failed alone, that it can't be written.

        Parameters:
          written: How often the acker has written anything: the server takes others, though not this one.
        """
        # Who has no answer may wait for a lock of somebody else: behind a pooler nothing bounds that but patience.
        if isinstance(error, NoAnswer) or (is_in_trouble(error) and not is_lost(error)):
            return False
        times, before = self.blamed.get(verdict.message.id, (0, written))
        times += written != before
        self.blamed[verdict.message.id] = times, written
        return times >= MOST_FAILURES

    def put_off(self, now: float, *, written: int) -> None:
        """Wait for the next attempt: longer each time, if others were written meanwhile."""
        if written == self.written_before:
            self._rarely.reset()
            self._rarely.next_s()
        self.written_before = written
        self.due_at = now + self._rarely.next_s()
        self._failures = PATIENCE - min(PATIENCE, len(self.left))

    def join(self, other: "Group") -> None:
        """Take in those that were put off after these: they need not wait as long for what may be over sooner."""
        self.alone |= other.alone
        self.left += other.left
        self.left.sort(key=lambda verdict: verdict.message.id in self.alone)
        self.blamed |= other.blamed
        self.due_at = min(self.due_at, other.due_at)
        if other.has_lost:
            self.after_refusal, self.has_lost = other.after_refusal, True
