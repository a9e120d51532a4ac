"""A single message by its id, as long as its bytes are kept. Owns no table."""

from dataclasses import dataclass

from .calls import Call, Procedure
from .messages import keys_of


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message that waits, runs, or is a dead letter.

    Parameters:
      status: ``queued``, ``scheduled``, ``running`` or ``failed``.
      since: When it was claimed, or when it died, in seconds since 1970; None of those that wait.
      worker: Which process holds it, ``host:pid``.
      error: Why it died: traceback, error or reason.
    """

    payload: bytes
    status: str
    since: float | None
    worker: str | None
    error: str | None


def find(message_id: str) -> Procedure[FoundMessage | None]:
    """Look for a message; None if it is done, or was never sent."""
    rows = yield Call("messages/find", {"key": keys_of(message_id)[0]})
    if not rows:
        return None
    payload, status, since, worker, error = rows[0]
    return FoundMessage(bytes(payload), status, since, worker, error)
