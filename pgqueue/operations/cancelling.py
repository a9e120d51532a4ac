"""Cancels messages, wherever they are: takes them out, or asks the worker that holds them."""

import time

from ..message import Cancellation
from ..storage import orders, queues, removals
from ..storage.database import Database
from ..storage.deadlocks import again_after_deadlock
from ..storage.messages import keys_of

#: Seconds for which a message is followed that moves on whenever it is looked at: claimed, given back, promoted.
MOVING_S = 5.0

#: Seconds between two looks: the first, and the longest.
FIRST_LOOK_S, LAST_LOOK_S = 0.005, 0.1

_ENDS = {
    "cancelled": Cancellation.CANCELLED,
    "done": Cancellation.DONE,
    "failed": Cancellation.FAILED,
    "unknown": Cancellation.UNKNOWN,
}


def cancel(database: Database, message_id: str, *, wait_s: float) -> Cancellation:
    """See that a message does not run, or not to its end; say what came of it.

    A message that no worker holds is taken out in one statement, which either gets it or finds it claimed. One that
    is held stays with its worker, who is asked; the request lasts until the message has ended, over lost workers,
    retries and notifications.

    Parameters:
      wait_s: How long to wait for the worker's answer.
    """
    attempt = _Attempt(database, message_id)
    began, look_s = time.monotonic(), FIRST_LOOK_S
    while (result := attempt.look()) is None:
        elapsed_s = time.monotonic() - began
        if elapsed_s >= (wait_s if attempt.asked else max(wait_s, MOVING_S)):
            attempt.ask()
            return Cancellation.REQUESTED
        time.sleep(look_s)
        look_s = min(look_s * 1.5, LAST_LOOK_S)
    return result


class _Attempt:
    """One message on its way to its end; ``asked`` once its worker has been."""

    def __init__(self, database: Database, message_id: str) -> None:
        self.asked = False
        self._database = database
        self._message_id = message_id
        self._key = keys_of(message_id)[0]

    def look(self) -> Cancellation | None:
        """Take the message out or ask its worker; answer what came of it, None if nothing has yet."""
        status = "cancelled" if self._take_out() else self._status()
        if status in _ENDS:
            self._forget()
            return _ENDS[status]
        if status == "running" and not self.asked:
            self.ask()
        elif status == "running" and self._is_refused():
            self._forget()
            return Cancellation.REFUSED
        return None

    def ask(self) -> None:
        """Leave the request and tell all workers, once."""
        if self.asked:
            return
        self.asked = True
        with self._database.bounded() as conn:
            orders.ask_to_cancel(conn, self._database.statements, key=self._key)
        with self._database.bounded() as conn:
            orders.announce(conn, self._database.statements)

    @again_after_deadlock
    def _take_out(self) -> bool:
        with self._database.bounded() as conn:
            return bool(removals.remove(conn, self._database.statements, keys=[self._key], record=True))

    def _status(self) -> str:
        # In a snapshot of its own: what was claimed while we waited for its row shows only now.
        with self._database.bounded() as conn:
            return queues.status(conn, self._database.statements, message_id=self._message_id)

    def _is_refused(self) -> bool:
        with self._database.bounded() as conn:
            return orders.answer_to(conn, self._database.statements, key=self._key) == "refused"

    def _forget(self) -> None:
        if self.asked:
            with self._database.bounded() as conn:
                orders.drop_request(conn, self._database.statements, key=self._key)
