"""Hands the result of one message on to the next one of its pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgqueue.common import to_millis
from pgqueue.message import Message

from .middleware import Middleware

if TYPE_CHECKING:
    from pgqueue.broker import Broker, MessageProxy

__all__ = ["Pipelines"]


class Pipelines(Middleware):
    """Enqueues a message's ``pipe_target`` after its success, with the result as the target's last argument.

    The result is kept back from a target with ``pipe_ignore`` in its options, and by an actor with ``pipe_ignore``.
    """

    @property
    def actor_options(self) -> set[str]:
        """``pipe_target``, a message as a dict, and ``pipe_ignore``, whether the result is kept back."""
        return {"pipe_target", "pipe_ignore"}

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Enqueue the next step, if there is one and this one succeeded."""
        if exception is not None or message.failed:
            return
        target = message.options.get("pipe_target")
        if target is not None:
            self._run_next(broker, message, Message(**target), result)

    def _run_next(self, broker: Broker, message: MessageProxy, target: Message[Any], result: Any) -> None:
        if not self._keeps_result_back(broker, message, target):
            target = target.copy(args=(*target.args, result))
        delay = target.options.get("delay")
        broker.enqueue(target, delay=None if delay is None else to_millis(delay))

    def _keeps_result_back(self, broker: Broker, message: MessageProxy, target: Message[Any]) -> bool:
        # As in Dramatiq: of a message the option is about what it is given, of an actor about what it gives.
        actor = broker.actors.get(message.actor_name)
        return bool(target.options.get("pipe_ignore") or (actor and actor.options.get("pipe_ignore")))
