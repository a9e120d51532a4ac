"""Claimed messages that must not begin, because their queue or their actor was paused: put aside in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..storage import messages
from ..storage.messages import ClaimedMessage
from .acker import GIVE_BACK_S, give_back

if TYPE_CHECKING:
    from .session import Session


class Aside:
    """What one intake is to put aside. Filled by any thread, emptied by the one that draws.

    Parameters:
      on_done: Told how many messages are not held any more.
    """

    def __init__(self, session: Session, on_done: Callable[[int], None]) -> None:
        self._session = session
        self._on_done = on_done
        self._waiting: deque[tuple[ClaimedMessage, bool]] = deque()

    def add(self, message: ClaimedMessage, *, park: bool) -> None:
        """Put a message aside: park it until its actor goes on, or give it back to its queue."""
        self._waiting.append((message, park))

    def take_all(self) -> list[ClaimedMessage]:
        """What was not put aside yet."""
        return [message for message, _ in self._take()]

    def write(self) -> None:
        """Put aside what there is.

        Raises:
          PgQueueError: Nothing is forgotten; the next call tries again.
        """
        if not self._waiting:
            return
        groups: dict[tuple[object, bool], list[ClaimedMessage]] = {}
        for message, park in self._take():
            groups.setdefault((message.lease.owner, park), []).append(message)
        try:
            for key, group in list(groups.items()):
                (self._park if key[1] else self._return)(group)
                del groups[key]
                self._on_done(len(group))
        finally:
            self._waiting.extend((message, park) for (_, park), group in groups.items() for message in group)

    def _take(self) -> list[tuple[ClaimedMessage, bool]]:
        return [self._waiting.popleft() for _ in range(len(self._waiting))]

    def _return(self, group: list[ClaimedMessage]) -> None:
        give_back(self._session.database, self._session.leases, group[0].lease.owner, group)

    def _park(self, group: list[ClaimedMessage]) -> None:
        database, leases = self._session.database, self._session.leases
        with database.bounded(GIVE_BACK_S) as conn:
            messages.requeue(conn, database.statements, owner=group[0].lease.owner, messages=group, park=True)
        leases.count_off(group)
        leases.drop(group)
