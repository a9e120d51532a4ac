"""What is shown of messages whose actors are redacted: that they are there, and nothing of what is in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import DecodeError
from ..message import Message
from ..operations.explaining import Found
from ..operations.values import CUT, plain
from ..storage.attempts import FailedAttempt
from ..storage.dead_letters import DeadLetter, LetterGroup
from ..storage.whereabouts import End, LiveRow
from .settings import Settings

__all__ = [
    "HIDDEN",
    "call_of",
    "carries_hidden",
    "veiled_attempt",
    "veiled_error",
    "veiled_group",
    "veiled_parts",
]

HIDDEN = "(hidden)"


def veiled_error(settings: Settings, actor_name: str, error: str | None) -> str | None:
    """An error, or of a redacted actor's only its kind."""
    if error is None or not settings.hides(actor_name):
        return error
    kind, colon, _ = error.partition(":")
    return f"{kind}: {HIDDEN}" if colon and all(map(str.isidentifier, kind.split("."))) else HIDDEN


def veiled_group(settings: Settings, group: LetterGroup) -> LetterGroup:
    """Dead letters of one kind, without what their errors say; of the kind no more than its name."""
    if not settings.hides(group.actor_name):
        return group
    error = veiled_error(settings, group.actor_name, group.last_error)
    return replace(group, kind=(error or "").partition(":")[0], last_error=error)


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
    """A message's fields, or its bytes as text; without what is in calls of redacted actors, its own or others it has.

    Others are those that it carries along: later steps of its pipeline, callbacks of its group, the call that a handler
    of failures is told of.
    """
    try:
        message = Message.decode(payload)
    except DecodeError:
        text = payload[:2_000].decode("utf-8", "replace")
        return {"undecodable": HIDDEN if settings.hides_anything else text, "bytes": len(payload)}
    fields: dict[str, Any] = plain(message.asdict())
    traceback = fields["options"].pop("traceback", None)
    if settings.hides(message.actor_name):
        return {**_veiled_call(fields), "traceback": None, "hidden": True}
    if settings.hides_anything:
        fields = veiled_parts(settings, fields)
    return {**fields, "traceback": traceback, "hidden": False}


def carries_hidden(settings: Settings, payload: bytes) -> bool:
    """Whether anything is hidden of a message when it is shown: then it must not be found by what is in it, either."""
    try:
        fields = plain(Message.decode(payload).asdict())
    except DecodeError:
        return True
    return bool(veiled_parts(settings, fields, all_of_it=False) != fields)


def veiled_parts(settings: Settings, value: Any, *, named: bool = False, all_of_it: bool = True) -> Any:
    """A plain value without what is in the calls of redacted actors in it, however deep.

    What stands beside such a call among arguments goes with it: handlers are given the error, or the result, as well.

    Parameters:
      named: Whether the value is a call's arguments by name.
      all_of_it: Keep what was nested too deep to be looked at, which is a word in its place.
    """
    if isinstance(value, dict):
        if _is_hidden_call(settings, value):
            return _veiled_call(value)
        told = named and any(_is_hidden_call(settings, part) for part in value.values())
        inner = "kwargs" if _is_call(value) else None
        return {
            name: HIDDEN
            if told and not _is_call(part)
            else veiled_parts(settings, part, named=name == inner, all_of_it=all_of_it)
            for name, part in value.items()
        }
    if isinstance(value, list):
        told = any(_is_hidden_call(settings, part) for part in value)
        return [
            HIDDEN if told and not _is_call(part) else veiled_parts(settings, part, all_of_it=all_of_it)
            for part in value
        ]
    return HIDDEN if value == CUT and not all_of_it else value


def _is_call(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("actor_name"), str):
        return False
    return any(name in value for name in ("args", "kwargs", "options"))


def _is_hidden_call(settings: Settings, value: Any) -> bool:
    return _is_call(value) and settings.hides(value["actor_name"])


def _veiled_call(fields: dict[str, Any]) -> dict[str, Any]:
    """A call with nothing but what identifies it; of its options the numbers."""
    options = fields.get("options")
    shown: dict[str, Any] = {name: HIDDEN for name in fields if name != "traceback"}
    shown |= {name: fields[name] for name in _IDENTITY if name in fields}
    if isinstance(options, dict):
        shown["options"] = {
            name: value if isinstance(value, (int, float)) else HIDDEN
            for name, value in options.items()
            if name != "traceback"
        }
    return shown


#: What may be seen of any call.
_IDENTITY = ("queue_name", "actor_name", "message_id", "message_timestamp")
