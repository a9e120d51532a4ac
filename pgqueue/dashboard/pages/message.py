"""One message: where it is and why, its attempts, what it was called with, what came of it, and its relatives."""

from __future__ import annotations

import hashlib
from typing import Any

from ...brokers._failures import KEPT_IN_A_ROW
from ...encoder import get_encoder
from ...operations import explaining
from ...operations.course import attempts_of, time_line_of
from ...operations.explaining import Found
from ...operations.values import plain
from ...storage import results
from ...storage.dead_letters import DeadLetter
from ...storage.whereabouts import End, LiveRow
from ..endpoint import Answer, BadRequest, Visit
from ..relatives import relatives
from ..veil import HIDDEN, call_of, veiled, veiled_parts


def page(visit: Visit) -> Answer:
    """Show everything that is known of a message."""
    message_id = visit.text("id")
    if message_id is None:
        raise BadRequest("Which message? The address wants ?id=ID.")
    found = veiled(visit.site.settings, explaining.find(visit.site.database, message_id))
    explanation = explaining.explain(found)
    payload = _payload(found)
    call = None if payload is None else call_of(visit.site.settings, payload)
    actor, queue, priority = _names(found)
    return Answer(
        "message.html",
        {
            "message_id": message_id,
            "status": explanation.status,
            "actor": actor, "queue": queue, "priority": priority,
            "because": explanation.because,
            "remedy": explanation.remedy,
            "timeline": time_line_of(found),
            "attempts": attempts_of(found),
            "kept_in_a_row": KEPT_IN_A_ROW,
            "call": call,
            "result": _result(visit, message_id, actor, queue),
            "relatives": [] if call is None or call.get("hidden") else relatives(call),
            "can": _can(found, explanation.status),
        },
        404 if explanation.status == "unknown" and not found.attempts else 200,
    )  # fmt: skip


def _payload(found: Found) -> bytes | None:
    if found.live:
        return found.live[0].payload
    return found.letters[0].payload if found.letters else None


def _names(found: Found) -> tuple[str | None, str | None, int | None]:
    rows: list[LiveRow | DeadLetter | End] = [*found.live, *found.letters, *found.ends]
    for row in rows[:1]:
        return row.actor_name, row.queue_name, row.priority
    return (found.attempts[0].actor_name if found.attempts else None), None, None


def _can(found: Found, status: str) -> list[str]:
    """What may be done to a message as it is now."""
    if status == "running":
        return ["cancel"]
    if status == "scheduled":
        return ["retry", "cancel", "delete"]
    if status == "queued":
        return ["cancel", "delete"]
    return ["requeue", "delete"] if found.letters else []


def _result(visit: Visit, message_id: str, actor: str | None, queue: str | None) -> dict[str, Any] | None:
    """What the actor returned, where a results backend with the usual keys has kept it."""
    if actor is None:
        return None
    key = f"pgqueue-results:{queue}:{actor}:{message_id}"
    digest = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    with visit.site.database.bounded() as conn:
        value = results.find(conn, visit.site.database.statements, key=digest)
    if value is None:
        return None
    if visit.site.settings.hides(actor):
        return {"value": HIDDEN}
    try:
        result = plain(get_encoder().decode(value))
    except Exception:  # noqa: BLE001  # encoders, an application's own among them, raise whatever they like
        return {"value": f"{len(value)} bytes that this process's encoder can't read"}
    return {"value": veiled_parts(visit.site.settings, result)}
