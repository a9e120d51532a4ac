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

    A target with ``pipe_ignore``, in its own options or its actor's, is not given the result.
    """

    @property
    def actor_options(self) -> set[str]:
        """``pipe_target``, a message as a dict, and ``pipe_ignore``, whether to go without the result."""
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
            self._run_next(broker, Message(**target), result)

    def _run_next(self, broker: Broker, target: Message[Any], result: Any) -> None:
        if not self._ignores_result(broker, target):
            target = target.copy(args=(*target.args, result))
        delay = target.options.get("delay")
        broker.enqueue(target, delay=None if delay is None else to_millis(delay))

    def _ignores_result(self, broker: Broker, target: Message[Any]) -> bool:
        # The target's actor may be declared in another program only; then the message alone decides.
        actor = broker.actors.get(target.actor_name)
        return bool(target.options.get("pipe_ignore") or (actor and actor.options.get("pipe_ignore")))
