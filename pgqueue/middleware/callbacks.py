"""Actors that are told how another one's messages went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgqueue.common import error_text

from ._options import check_actor
from .middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.broker import Broker, MessageProxy

__all__ = ["Callbacks"]


class Callbacks(Middleware):
    """Sends a message to ``on_success`` after every success and to ``on_failure`` after every failed attempt.

    Both name actors. The first is given the message as a dict and the result, the second the message and a
    dict of the exception's ``type`` and ``message``; attempts that will be retried count as failed, too.
    """

    @property
    def actor_options(self) -> set[str]:
        """``on_success`` and ``on_failure``, names of actors."""
        return {"on_success", "on_failure"}

    def check_actor_options(self, options: Mapping[str, Any]) -> None:
        """Refuse what names no actor."""
        check_actor(options, "on_success")
        check_actor(options, "on_failure")

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Enqueue the callback that fits how the message went, if there is one."""
        option = "on_success" if exception is None else "on_failure"
        callback = message.options.get(option) or broker.get_actor(message.actor_name).options.get(option)
        if not callback:
            return
        if exception is not None:
            failure = {"type": type(exception).__name__, "message": error_text(exception)}
            broker.get_actor(callback).send(message.asdict(), failure)
        elif not message.failed:
            # A hook may have failed the message without an exception; its actor did not run, so nothing
            # succeeded.
            broker.get_actor(callback).send(message.asdict(), result)
