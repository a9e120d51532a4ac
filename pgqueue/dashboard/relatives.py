"""Messages that belong to another one, as far as it carries them with it: steps that follow, callbacks, its group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["relatives"]

#: Steps of a pipeline that are shown.
MOST = 100


def relatives(call: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What follows a message: the later steps of its pipeline, and the callbacks of its group."""
    options = call.get("options", {})
    found = list(_steps(options))
    group = options.get("group_completion_uuid")
    callbacks = options.get("group_completion_callbacks")
    found += [
        _relative("when the group is complete", callback, group=group)
        for callback in (callbacks if isinstance(callbacks, list) else [])
        if isinstance(callback, Mapping)
    ]
    return found + [
        {"kind": name.replace("_", " "), "actor": options[name], "message_id": None, "group": None}
        for name in ("on_success", "on_failure", "on_retry_exhausted")
        if isinstance(options.get(name), str)
    ]


def _steps(options: Any) -> Iterator[dict[str, Any]]:
    for number in range(1, MOST + 1):
        target = options.get("pipe_target") if isinstance(options, Mapping) else None
        if not isinstance(target, Mapping):
            return
        yield _relative(f"step {number} after it", target)
        options = target.get("options")


def _relative(kind: str, fields: Mapping[str, Any], *, group: Any = None) -> dict[str, Any]:
    return {
        "kind": kind,
        "actor": str(fields.get("actor_name")),
        "message_id": _text(fields["message_id"]) if fields.get("message_id") else None,
        "group": group,
    }


def _text(value: Any) -> str:
    """What may stand in an address: lone surrogates may not."""
    return str(value).encode("utf-8", "replace").decode()
