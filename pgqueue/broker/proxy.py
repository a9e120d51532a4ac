"""What a consumer hands out: a message, and what became of it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgqueue.message import Message

__all__ = ["MessageProxy"]


class MessageProxy:
    """A message on its way through a worker; it has all attributes of the message.

    Brokers derive from it to keep what they need for the ack.

    Attributes:
      too_old: Why it was given up without having been run, if that was for its age; None otherwise.
    """

    # The message's own fields, as plain attributes: they are read dozens of times a message, and
    # __getattr__ costs ten times as much.
    queue_name: str
    actor_name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str
    message_timestamp: int
    too_old: str | None = None

    def __init__(self, message: Message[Any]) -> None:
        self.failed = False
        self._exception: BaseException | None = None
        self._message = message

    @property
    def _message(self) -> Message[Any]:
        return self._proxied

    # Assigned also by middleware that exchanges the message, to decrypt its arguments for example.
    @_message.setter
    def _message(self, message: Message[Any]) -> None:
        self._proxied = message
        self.queue_name = message.queue_name
        self.actor_name = message.actor_name
        self.args = message.args
        self.kwargs = message.kwargs
        self.options = message.options
        self.message_id = message.message_id
        self.message_timestamp = message.message_timestamp

    def fail(self) -> None:
        """Mark the message as failed: it will not be run (again), and goes to the dead letters."""
        self.failed = True

    def stuff_exception(self, exception: BaseException) -> None:
        """Keep the exception that the actor raised."""
        self._exception = exception

    def clear_exception(self) -> None:
        """Let go of the exception, and of all that its frames hold."""
        self._exception = None

    def __getattr__(self, name: str) -> Any:
        # Only for what the proxy itself lacks.  copy and pickle ask for special methods and restore the
        # attributes of an empty proxy, which has no message yet.
        if name == "_proxied" or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._proxied, name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, MessageProxy):
            return self._message == other._message
        return self._message == other

    # Its message is not hashable either, as it holds dictionaries.
    __hash__ = None  # type: ignore[assignment]  # the documented way to say so

    def __lt__(self, other: object) -> bool:
        """Return True: any order will do for those who put proxies into priority queues."""
        warnings.warn("Messages have no order; compare something else.", DeprecationWarning, stacklevel=2)
        return True

    def __str__(self) -> str:
        return str(self._message)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._message!r})"
