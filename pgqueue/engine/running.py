"""What a process is running at this moment: for those who want to know it, and for those who want to end it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from threading import Lock, get_ident
from typing import Any, Literal

from .._locks import enter
from ..storage.messages import keys_of
from ..threading import Cancelled, raise_thread_exception

#: A message that a thread is running: its number, the message as the broker knows it (with a ``message_id``), and since
#: when by the monotonic clock. A plain tuple, for one is made for each message.
Run = tuple[int, Any, float]


class Running:
    """The runs of one process, by thread. Safe to use from all threads.

    Parameters:
      allows: Tells whether a message may be interrupted.
    """

    def __init__(self, allows: Callable[[Any], bool] = lambda _: False) -> None:
        self._allows = allows
        self._runs: dict[int, Run] = {}
        self._unwanted: frozenset[str] = frozenset()
        #: In which threads `Cancelled` was raised, which happens once in a run.
        self._interrupted: set[int] = set()
        # Held while an exception is raised, so that none is once `end` has returned.
        self._lock = Lock()

    def begin(self, id_: int, message: Any, since: float) -> None:
        """Note what the calling thread runs; what is not to run is interrupted as its actor starts."""
        self._runs[get_ident()] = (id_, message, since)
        if self._unwanted and not message.failed and self._key(message) in self._unwanted:
            with self._lock:
                self._interrupt(get_ident())

    def end(self) -> None:
        """Note that the calling thread runs nothing."""
        thread_id = get_ident()
        enter(self._lock)
        try:
            self._runs.pop(thread_id, None)
            if self._interrupted:
                self._interrupted.discard(thread_id)
        finally:
            self._lock.release()

    def cancel(self, keys: Collection[str]) -> dict[str, Literal["accepted", "refused"]]:
        """Interrupt the messages of these keys, now or when they are begun; answer for those that run.

        Parameters:
          keys: Of all messages that are not to run; those of an earlier call are forgotten.
        """
        self._unwanted = frozenset(keys)
        if not keys:
            return {}
        answers: dict[str, Literal["accepted", "refused"]] = {}
        with self._lock:
            for thread_id, (_, message, _) in list(self._runs.items()):
                key = self._key(message)
                if key not in self._unwanted:
                    continue
                allowed = thread_id in self._interrupted or self._allows(message)
                answers[key] = "accepted" if allowed else "refused"
                if allowed:
                    self._interrupt(thread_id)
        return answers

    def for_longer_than(self, seconds: float) -> dict[int, float]:
        """The numbers of messages that have been running for so long, and for how many ms."""
        now = time.monotonic()
        return {
            id_: (now - since) * 1000 for id_, _, since in list(self._runs.values()) if now - since > seconds
        }

    @staticmethod
    def _key(message: Any) -> str:
        return keys_of(message.message_id)[0]

    def _interrupt(self, thread_id: int) -> None:
        if thread_id not in self._interrupted:
            self._interrupted.add(thread_id)
            raise_thread_exception(thread_id, Cancelled)
