"""What a process is running at this moment: for those who want to know it, and for those who want to end it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Lock, get_ident
from typing import Any, Literal

from ..storage.messages import keys_of
from ..threading import Cancelled, raise_thread_exception


@dataclass(slots=True)
class Run:
    """One message that a thread is running.

    Attributes:
      message: A message as the broker knows it, with a ``message_id``.
      since: By the monotonic clock.
      interrupted: `Cancelled` has been raised in it, which happens once.
    """

    id: int
    message: Any
    since: float
    interrupted: bool = False


class Running:
    """The runs of one process, by thread. Safe to use from all threads.

    Parameters:
      allows: Tells whether a message may be interrupted.
    """

    def __init__(self, allows: Callable[[Any], bool] = lambda _: False) -> None:
        self._allows = allows
        self._runs: dict[int, Run] = {}
        self._unwanted: frozenset[str] = frozenset()
        # Held while an exception is raised, so that none is once `end` has returned.
        self._lock = Lock()

    def begin(self, id_: int, message: Any) -> None:
        """Note what the calling thread runs; what is not to run is interrupted as its actor starts."""
        run = self._runs[get_ident()] = Run(id_, message, time.monotonic())
        if self._unwanted and not message.failed and keys_of(message.message_id)[0] in self._unwanted:
            with self._lock:
                self._interrupt(get_ident(), run)

    def end(self) -> None:
        """Note that the calling thread runs nothing."""
        with self._lock:
            self._runs.pop(get_ident(), None)

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
            for thread_id, run in list(self._runs.items()):
                key = keys_of(run.message.message_id)[0]
                if key not in self._unwanted:
                    continue
                allowed = run.interrupted or self._allows(run.message)
                answers[key] = "accepted" if allowed else "refused"
                if allowed:
                    self._interrupt(thread_id, run)
        return answers

    def for_longer_than(self, seconds: float) -> dict[int, float]:
        """The ids of messages that have been running for so long, and for how many ms."""
        now = time.monotonic()
        return {
            run.id: (now - run.since) * 1000 for run in list(self._runs.values()) if now - run.since > seconds
        }

    def _interrupt(self, thread_id: int, run: Run) -> None:
        if not run.interrupted:
            run.interrupted = True
            raise_thread_exception(thread_id, Cancelled)
