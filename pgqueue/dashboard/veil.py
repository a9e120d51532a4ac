"""What is shown of messages whose actors are redacted: that they are there, and nothing of what is in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import DecodeError
from ..message import Message
from ..operations.explaining import Found
from ..storage.attempts import FailedAttempt
from ..storage.dead_letters import DeadLetter
from ..storage.whereabouts import End, LiveRow
from .settings import Settings

__all__ = ["HIDDEN", "call_of", "veiled_attempt", "veiled_error"]

HIDDEN = "(hidden)"


def veiled_error(settings: Settings, actor_name: str, error: str | None) -> str | None:
    """An error, or of a redacted actor's only its kind."""
    if error is None or not settings.hides(actor_name):
        return error
    kind, colon, _ = error.partition(":")
    return f"{kind}: {HIDDEN}" if colon and kind.replace(".", "").replace("_", "").isalnum() else HIDDEN


def veiled(settings: Settings, found: Found) -> Found:
    """What is known of a message, without what a redacted actor's errors say: neither here nor in its options."""

    def error(row: End | DeadLetter | FailedAttempt) -> str | None:
        return veiled_error(settings, row.actor_name, row.error)

    return replace(
        found,
        live=[replace(row, payload=_without_traceback(settings, row)) for row in found.live],
        ends=[replace(end, error=error(end)) for end in found.ends],
        letters=[
            replace(
                letter, error=error(letter), traceback=None if settings.hides(letter.actor_name) else letter.traceback
            )
            for letter in found.letters
        ],
        attempts=[veiled_attempt(settings, attempt) for attempt in found.attempts],
    )  # fmt: skip


def veiled_attempt(settings: Settings, attempt: FailedAttempt) -> FailedAttempt:
    """A failed attempt, or of a redacted actor only that there was one, and the kind of its error."""
    if not settings.hides(attempt.actor_name):
        return attempt
    # What is said of a lost worker is ours.
    error = (
        attempt.error if attempt.kind == "l" else veiled_error(settings, attempt.actor_name, attempt.error)
    )
    return replace(attempt, error=error, traceback=None)


def _without_traceback(settings: Settings, row: LiveRow) -> bytes:
    try:
        message = Message.decode(row.payload)
    except DecodeError:
        return row.payload
    if not (settings.hides(row.actor_name) or settings.hides(message.actor_name)):
        return row.payload
    return message.copy(options={"traceback": None}).encode()


def call_of(settings: Settings, payload: bytes) -> dict[str, Any]:
    """A message's fields; without arguments, options and result for a redacted actor; or its bytes as text."""
    try:
        message = Message.decode(payload)
    except DecodeError:
        text = payload[:2_000].decode("utf-8", "replace")
        return {"undecodable": HIDDEN if settings.hides_anything else text, "bytes": len(payload)}
    fields: dict[str, Any] = dict(message.asdict())
    fields["options"] = {name: value for name, value in message.options.items() if name != "traceback"}
    fields["traceback"] = message.options.get("traceback")
    fields["hidden"] = settings.hides(message.actor_name)
    if fields["hidden"]:
        fields |= {"args": HIDDEN, "kwargs": HIDDEN, "traceback": None}
        fields["options"] = {
            name: value if isinstance(value, (int, float, bool)) else HIDDEN
            for name, value in fields["options"].items()
        }
    return fields
