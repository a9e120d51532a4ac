"""The message: which actor to run with which arguments, and all that travels with it.

Owns Message and its wire format.  The process's encoder is kept here as ``global_encoder``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ._registry import get_broker
from .clock import AHEAD, ahead_ms
from .common import current_millis, error_text
from .composition import pipeline
from .encoder import Encoder, MessageData, get_encoder, keep_in, set_encoder
from .errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .results.backend import ResultBackend

__all__ = ["Cancellation", "Message", "MessageStatus", "generate_unique_id", "get_encoder", "set_encoder"]

R_co = TypeVar("R_co", covariant=True)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = ("queue_name", "actor_name", "args", "kwargs", "options", "message_id", "message_timestamp")

#: The encoder of the process; the same one that :func:`set_encoder` sets.
global_encoder: Encoder
keep_in(globals())


def generate_unique_id() -> str:
    """Return a random UUID (version 4) as text."""
    # str(uuid.uuid4()) is the same in three times the time, and every send() pays it.
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class MessageStatus(StrEnum):
    """Where a message is; ``FAILED`` ones are among the dead letters."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class Cancellation(StrEnum):
    """What came of cancelling a message."""

    #: It does not run (again): it was taken out, was interrupted, or had been cancelled before.
    CANCELLED = "cancelled"
    #: A worker holds it and has been asked, but it has not ended yet. The request lasts until it has.
    REQUESTED = "requested"
    #: It is running, and its actor does not have the option ``cancellable``.
    REFUSED = "refused"
    #: It had ended before.
    DONE = "done"
    FAILED = "failed"
    #: There is no such message, or it ended more than a day ago.
    UNKNOWN = "unknown"


@dataclass(frozen=True, order=True, init=False)
class Message(Generic[R_co]):
    """A request to run an actor.

    Parameters:
      queue_name: The queue it is sent to.
      actor_name: The actor to run.
      args: Positional arguments for the actor.
      kwargs: Keyword arguments for the actor; the dictionary is kept, not copied.
      options: What middleware and brokers know about the message; the dictionary is kept, not copied, unless this
        machine's clock is known to be off, which is noted in it.
      message_id: A random UUID when None.
      message_timestamp: When it was made, in milliseconds since the epoch; now when None.
    """

    queue_name: str
    actor_name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str
    message_timestamp: int

    #: Messages were once named tuples, and programs still use these.
    _fields: ClassVar[tuple[str, ...]] = _FIELDS
    _field_defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        queue_name: str,
        actor_name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        message_id: str | None = None,
        message_timestamp: int | None = None,
    ) -> None:
        if kwargs is None or options is None:
            raise TypeError(
                f"A message for actor {actor_name!r} needs dictionaries of keyword arguments and options: {{}} for "
                "none, not None. actor.message(...) makes them."
            )
        if message_timestamp is None and (ahead := ahead_ms()):
            options = {**options, AHEAD: ahead}
        # All at once: setting seven fields of a frozen object one by one takes three times as long.
        fields = {
            "queue_name": queue_name,
            "actor_name": actor_name,
            "args": tuple(args),
            "kwargs": kwargs,
            "options": options,
            "message_id": generate_unique_id() if message_id is None else message_id,
            "message_timestamp": current_millis() if message_timestamp is None else message_timestamp,
        }
        object.__setattr__(self, "__dict__", fields)

    def __or__(self, other: Message[Any] | pipeline) -> pipeline:
        """Return a pipeline in which ``other`` follows this message."""
        return pipeline([self, other])

    def __str__(self) -> str:
        positional = [repr(arg) for arg in self.args]
        named = [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.actor_name}({', '.join(positional + named)})"

    @property
    def message_datetime(self) -> datetime:
        """When the message was made, in UTC."""
        return _EPOCH + timedelta(milliseconds=self.message_timestamp)

    def asdict(self) -> MessageData:
        """Return the fields by name; the values are the message's own, not copies."""
        return {
            "queue_name": self.queue_name,
            "actor_name": self.actor_name,
            "args": self.args,
            "kwargs": self.kwargs,
            "options": self.options,
            "message_id": self.message_id,
            "message_timestamp": self.message_timestamp,
        }

    def copy(self, **attributes: Any) -> Message[R_co]:
        """Return a message like this one with some fields replaced.

        Parameters:
          attributes: New values by field name; ``options`` are merged over the present ones, in a dictionary
            of the copy's own.
        """
        options = {**self.options, **attributes.pop("options", {})}
        return self._replace(options=options, **attributes)

    def encode(self) -> bytes:
        """Return the message as bytes, made by the process's encoder."""
        encoder = get_encoder()
        try:
            return encoder.encode(self.asdict())
        except Exception as error:
            error.add_note(
                f"Message {self.message_id} for actor {self.actor_name!r} was not sent: {type(encoder).__name__} can't "
                "encode it. Pass what it takes (an id in the place of an object, for example), or set another encoder "
                "with pgqueue.set_encoder()."
            )
            raise

    @classmethod
    def decode(cls, data: bytes) -> Message[Any]:
        """Return the message that was encoded, with the process's encoder.

        Raises:
          DecodeError: The bytes are not those of a message.
        """
        try:
            message = cls(**get_encoder().decode(data))
            _check_types(message)
        except DecodeError:
            raise
        except Exception as error:
            # Any encoder can be plugged in, and any error of its means the same: these bytes can't be read.
            text = error_text(error)
            raise DecodeError(f"{len(data)} bytes are not a message: {text}", data, error) from error
        return message

    def get_result(
        self,
        *,
        backend: ResultBackend | None = None,
        block: bool = False,
        timeout: int | None = None,
    ) -> R_co:
        """Return what the actor returned for this message.

        Parameters:
          backend: Where the result is kept; None means the backend of the process's broker.
          block: Wait until the result is there.
          timeout: How long to wait, in milliseconds; None means 10 seconds.

        Raises:
          ResultMissing: The result is not there, and ``block`` is not set.
          ResultTimeout: The result did not come in time.
          ResultFailure: The actor failed.
          RuntimeError: There is no backend.
        """
        if backend is None:
            backend = get_broker().get_results_backend()
        result: R_co = backend.get_result(self, block=block, timeout=timeout)
        return result

    async def get_result_async(
        self,
        *,
        backend: ResultBackend | None = None,
        block: bool = False,
        timeout: int | None = None,
    ) -> R_co:
        """As :meth:`get_result`, for a coroutine: its event loop goes on meanwhile."""
        if backend is None:
            backend = get_broker().get_results_backend()
        result: R_co = await backend.get_result_async(self, block=block, timeout=timeout)
        return result

    def status(self) -> MessageStatus:
        """Return where this message is, as the process's broker knows; outcomes are kept for a day."""
        return get_broker().get_message_status(self.message_id)

    def _asdict(self) -> MessageData:
        return self.asdict()

    def _replace(self, **attributes: Any) -> Message[R_co]:
        # dataclasses.replace() takes twice the time, and every delayed message pays it.
        return type(self)(**{**self.asdict(), **attributes})


def _check_types(message: Message[Any]) -> None:
    # Producers in other languages write these; what is wrong must show here, not in a worker's hooks.
    if not (
        isinstance(message.queue_name, str)
        and isinstance(message.actor_name, str)
        and isinstance(message.message_id, str)
    ):
        raise TypeError("queue_name, actor_name and message_id must be strings")
    if not isinstance(message.message_timestamp, (int, float)):
        raise TypeError("message_timestamp must be a number")
    if not (isinstance(message.kwargs, dict) and isinstance(message.options, dict)):
        raise TypeError("kwargs and options must be objects")
