"""What is shown of messages whose actors are redacted: that they are there, and nothing of what is in them."""

from __future__ import annotations

from typing import Any

from ..errors import DecodeError
from ..message import Message
from .settings import Settings

__all__ = ["HIDDEN", "call_of", "veiled_error"]

HIDDEN = "(hidden)"


def veiled_error(settings: Settings, actor_name: str, error: str | None) -> str | None:
    """An error, or of a redacted actor's only its kind."""
    if error is None or not settings.hides(actor_name):
        return error
    kind, colon, _ = error.partition(":")
    return f"{kind}: {HIDDEN}" if colon and kind.replace(".", "").replace("_", "").isalnum() else HIDDEN


def call_of(settings: Settings, payload: bytes) -> dict[str, Any]:
    """A message's fields; without arguments, options and result for a redacted actor; or its bytes as text."""
    try:
        message = Message.decode(payload)
    except DecodeError:
        text = payload[:2_000].decode("utf-8", "replace")
        return {"undecodable": HIDDEN if settings.redacted else text, "bytes": len(payload)}
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
