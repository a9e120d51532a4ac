"""What was sent and waits to be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..common import q_name
from ._shelf import shelf_of

if TYPE_CHECKING:
    from ..actor import Actor
    from ..broker import Broker
    from ..message import Message

__all__ = ["Enqueued", "assert_enqueued", "assert_not_enqueued", "enqueued"]


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A message that waits.

    Attributes:
      delay_ms: Milliseconds until it is due; None if it may run now.
    """

    message: Message[Any]
    delay_ms: float | None

    def __str__(self) -> str:
        later = "" if self.delay_ms is None else f" in {self.delay_ms:.0f} ms"
        return f"{self.message} on {q_name(self.message.queue_name)!r}{later}"


def enqueued(
    broker: Broker, actor: Actor[..., Any] | str | None = None, *, queue_name: str | None = None
) -> list[Enqueued]:
    """Return the messages that nobody has begun, those that may run first, then the delayed ones.

    Parameters:
      actor: Only those of this actor.
    """
    name = actor if actor is None or isinstance(actor, str) else actor.actor_name
    found = [Enqueued(message, delay_ms) for message, delay_ms in shelf_of(broker).peek()]
    return [
        each
        for each in found
        if name in {None, each.message.actor_name} and queue_name in {None, q_name(each.message.queue_name)}
    ]


def assert_enqueued(
    actor: Actor[..., Any],
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    delayed: bool | None = None,
    count: int | None = None,
) -> list[Enqueued]:
    """Fail unless messages of an actor wait that are as told; return them.

    Parameters:
      args: The positional arguments; None for any.
      kwargs: The keyword arguments; None for any.
      delayed: Whether it is due later; None for both.
      count: How many there must be; None for at least one.
    """
    waiting = enqueued(actor.broker)
    found = [
        each
        for each in waiting
        if each.message.actor_name == actor.actor_name
        and (args is None or list(each.message.args) == list(args))
        and (kwargs is None or dict(each.message.kwargs) == dict(kwargs))
        and delayed in {None, each.delay_ms is not None}
    ]
    if not found if count is None else len(found) != count:
        wanted = "at least one message" if count is None else f"{count} messages"
        raise AssertionError(
            f"Expected {wanted} for {actor.actor_name}(args={args!r}, kwargs={kwargs!r}, delayed={delayed!r}), found "
            f"{len(found)}. What waits:" + ("".join(f"\n  {each}" for each in waiting) or " nothing.")
        )
    return found


def assert_not_enqueued(
    actor: Actor[..., Any], *, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None
) -> None:
    """Fail if a message of an actor waits that is as told."""
    assert_enqueued(actor, args=args, kwargs=kwargs, count=0)
