"""What becomes of a message on its way to PostgreSQL: the copy that the sender gets, and what is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .. import clock
from ..common import checked_name, current_millis, dq_name, q_name, to_millis
from ..errors import MessageTooLarge
from ..faults import Fault
from ..logging import own_logger

if TYPE_CHECKING:
    from ..actor import Actor
    from ..broker import MessageProxy
    from ..message import Message

    AnyMessage: TypeAlias = Message[Any] | MessageProxy

#: A shorter delay than this is announced: workers look for due messages each second by themselves.
ANNOUNCED_DELAY_MS = 1_000

#: The latest eta, the end of the year 9999, and the longest delay, a thousand years, in ms.
MOST_ETA_MS, MOST_DELAY_MS = 253_402_300_799_999, 1_000 * 365 * 86_400_000

#: The most bytes of a message: a value of PostgreSQL's holds a gigabyte, and there is something around it on its way.
MOST_BYTES = 1_000_000_000

#: How much of a message an error shows.
SHOWN = 200

logger = own_logger(__name__)


class Encoded:
    """A message as it is written: encoded after the hooks have seen it, without what only delays are."""

    __slots__ = ("_undated", "actor_name", "eta_ms", "lane", "message_id", "payload")

    def __init__(
        self, message: Message[Any], *, actors: Mapping[str, Actor[..., Any]], limit: int | None = None
    ) -> None:
        queue_name = q_name(message.queue_name)
        self.lane = (queue_name, _priority_of(message, actors))
        self.message_id = message.message_id
        self.actor_name = message.actor_name
        self.eta_ms = _eta_of(message)
        _check_names(message)
        if queue_name != message.queue_name or "eta" in message.options:
            message = message.copy(queue_name=queue_name)
            message.options.pop("eta", None)
        self._undated: Message[Any] | None = message
        self.payload = message.encode()
        most = MOST_BYTES if limit is None else limit
        if len(self.payload) > most:
            raise MessageTooLarge(_shown(message), size=len(self.payload), limit=most)

    def dated(self) -> bytes:
        """The payload, once the server was asked something: the first message can't know before that a clock is off."""
        message, self._undated = self._undated, None  # what is sent again is the same to the last byte
        if message is not None and clock.is_undated(message.message_timestamp, message.options):
            self.payload = message.copy(options={clock.AHEAD: clock.ahead_ms()}).encode()
        return self.payload


def _priority_of(message: Message[Any], actors: Mapping[str, Actor[..., Any]]) -> int:
    """Lower first: the message's own, or RabbitMQ's turned round, or its actor's."""
    options = message.options
    if (priority := options.get("priority")) is None:
        if (broker_priority := options.get("broker_priority")) is not None:
            priority = -broker_priority
        elif (actor := actors.get(message.actor_name)) is not None:
            priority = actor.priority
        else:
            priority = 0
    if isinstance(priority, bool) or not isinstance(priority, int) or not -(2**31) < priority < 2**31:
        raise ValueError(f"Message {message} has priority {priority!r}: an integer of 32 bits is expected.")
    return priority


def announcement(delay: int | None) -> str | None:
    """What listeners are told of a short delay; they look for long ones by themselves."""
    return str(delay) if delay is not None and 0 < delay < ANNOUNCED_DELAY_MS else None


def _eta_of(message: Message[Any]) -> float | None:
    eta = message.options.get("eta")
    if not isinstance(eta, int | float) or isinstance(eta, bool) or math.isnan(eta):
        if eta is not None:
            logger.warning(
                "Invalid eta value for message %r: %r is not a number; it is due now.", message, eta,
                fault=Fault.INVALID_ETA,
            )  # fmt: skip
        return None
    if abs(eta) > MOST_ETA_MS:
        raise ValueError(
            f"Message {message} has eta {eta!r}: milliseconds since 1970 until the year 9999 are expected."
        )
    return eta


def check_delay(delay: int | None) -> None:
    """Refuse a delay that no instant can follow."""
    if delay is not None and not abs(to_millis(delay)) <= MOST_DELAY_MS:
        raise ValueError(f"A delay of {delay!r} ms is longer than a thousand years.")


def _check_names(message: Message[Any]) -> None:
    try:
        checked_name(message.queue_name, "the name of its queue")
        checked_name(message.actor_name, "the name of its actor")
        checked_name(message.message_id, "its id")
    except ValueError as error:
        raise ValueError(f"Message {_shown(message)} was not sent: {error}") from None


def _shown(message: Message[Any]) -> str:
    return f"{message.message_id[:SHOWN]!r} for actor {message.actor_name[:SHOWN]!r}"


def as_sent(message: AnyMessage, delay: int | None) -> Message[Any]:
    """What the sender gets back; only attributes of a message are used, for it may be a proxy."""
    if delay is None:
        return cast("Message[Any]", message)
    delayed: Message[Any] = message.copy(
        queue_name=dq_name(message.queue_name), options={"eta": current_millis() + delay}
    )
    return delayed
