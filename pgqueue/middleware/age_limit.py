"""Messages that have grown too old are not run but rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgqueue.clock import made_at, server_millis
from pgqueue.logging import own_logger

from ._options import check_duration
from .middleware import Middleware, SkipMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.broker import Broker, MessageProxy

__all__ = ["AgeLimit"]


class AgeLimit(Middleware):
    """Rejects messages older than ``max_age``; a retry does not make a message younger.

    Parameters:
      max_age: Milliseconds; None or 0 for no limit. A message's or an actor's own option comes first.
    """

    def __init__(self, *, max_age: int | None = None) -> None:
        self.logger = own_logger(__name__, type(self))
        self.max_age = max_age

    @property
    def actor_options(self) -> set[str]:
        """``max_age``, in milliseconds."""
        return {"max_age"}

    def check_actor_options(self, options: Mapping[str, Any]) -> None:
        """Refuse what is no span of time."""
        check_duration(options, "max_age")

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Fail and skip a message that is past its age limit."""
        max_age = (
            message.options.get("max_age")
            or broker.get_actor(message.actor_name).options.get("max_age")
            or self.max_age
        )
        if not max_age:
            return
        age = server_millis() - made_at(message.message_timestamp, message.options)
        if age >= max_age:
            self.logger.warning(
                "Message %r is older than its age limit of %d ms.", message.message_id, max_age
            )
            message.too_old = f"it was {age:,.0f} ms old, and may be {max_age:,.0f} ms old at most"
            message.fail()
            raise SkipMessage("Message age limit exceeded")
