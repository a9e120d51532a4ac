"""Which leases this process holds, and under which names.

A process claims under one name (owner) at a time, a random uuid. When its claim connection breaks, a claim may have
been committed that it never heard of; so it goes on under a new name, and what the old one still holds beyond the
leases that are known here is given back. An old name is retired when nothing is left of it.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from ..storage.messages import ClaimedMessage, Lease, Verdict


class Leases:
    """The names and leases of one process. Safe to use from all threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[UUID, dict[int, Lease]] = {}
        self._current: UUID | None = None
        self._claiming: Counter[UUID] = Counter()

    def current(self, *, within_s: float = 0.0) -> UUID | None:
        """The name to claim under, waiting for one if there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._current is not None, within_s)
            return self._current

    @contextmanager
    def claiming(self, *, within_s: float) -> Iterator[UUID | None]:
        """The name to claim under as `current` gives it; inside the block it is not one of the old names."""
        with self._changed:
            owner = self.current(within_s=within_s)
            if owner is not None:
                self._claiming[owner] += 1
        try:
            yield owner
        finally:
            if owner is not None:
                self._done_claiming(owner)

    def _done_claiming(self, owner: UUID) -> None:
        with self._changed:
            self._claiming[owner] -= 1
            if not self._claiming[owner]:
                del self._claiming[owner]

    def names(self) -> list[UUID]:
        """All names in use."""
        with self._changed:
            return list(self._held)

    def old_names(self) -> list[UUID]:
        """Names under which nothing is claimed any more."""
        with self._changed:
            return [owner for owner in self._held if owner != self._current and not self._claiming[owner]]

    def adopt(self, owner: UUID) -> None:
        """Claim under ``owner``, who is registered with the database, from now on."""
        with self._changed:
            self._held[owner] = {}
            self._current = owner
            self._changed.notify_all()

    def renounce(self) -> None:
        """Claim no more under the current name."""
        with self._changed:
            self._current = None

    def forget(self, owner: UUID) -> None:
        """Drop a name and what it held, because it is retired or was declared lost."""
        with self._changed:
            self._held.pop(owner, None)
            if self._current == owner:
                self._current = None

    def is_ours(self, owner: UUID) -> bool:
        """Whether a name is in use still; asked for each message, hence without the lock."""
        return owner in self._held

    def add(self, messages: Iterable[ClaimedMessage]) -> None:
        """Note what was claimed."""
        with self._changed:
            for message in messages:
                held = self._held.get(message.lease.owner)
                if held is not None:
                    held[message.lease.lid] = message.lease

    def lids(self, owner: UUID) -> list[int]:
        """The leases that ``owner`` is known to hold."""
        with self._changed:
            return list(self._held.get(owner, ()))

    def count_off(self, messages: Sequence[ClaimedMessage]) -> list[bool]:
        """Count messages off their leases; answer for each whether its lease holds nothing else now."""
        with self._changed:
            for message in messages:
                message.lease.left -= 1
            return [message.lease.left <= 0 for message in messages]

    def moved(self, message: ClaimedMessage, *, lid: int, slot: int) -> ClaimedMessage:
        """The message as it is held by a lease of its own, which the database has made."""
        lease = Lease(lid, slot, message.lease.owner, left=1, queue_name=message.lease.queue_name)
        self.count_off([message])
        self.drop([message])
        apart = message._replace(lease=lease)
        self.add([apart])
        return apart

    def locate(self, verdict: Verdict, held: Mapping[int, tuple[int, set[int]]]) -> bool:
        """Correct where a verdict's message is held by what the database says of its owner's leases; False: nowhere.

        The lease may lie in another slot by now. And it may be another: the connection on which the message was set
        apart was lost before the answer came, or a crash of the server has undone it.
        """
        message = verdict.message
        slot, ids = held.get(message.lease.lid, (0, set()))
        if message.id in ids:
            message.lease.slot = slot
            return True
        for lid, (slot, ids) in held.items():
            if message.id in ids:
                verdict.message = self.moved(message, lid=lid, slot=slot)
                return True
        return False

    def drop(self, messages: Iterable[ClaimedMessage]) -> None:
        """Forget the leases in which nothing is left, once the database knows."""
        with self._changed:
            for message in messages:
                if message.lease.left <= 0:
                    self._held.get(message.lease.owner, {}).pop(message.lease.lid, None)
