"""One message: where it is and why, its attempts, what it was called with, what came of it, and its relatives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...encoder import get_encoder
from ...errors import DecodeError
from ...operations import explaining
from ...operations.explaining import Found
from ...storage import results
from ...storage.dead_letters import DeadLetter
from ...storage.whereabouts import End, LiveRow
from ..endpoint import Answer, BadRequest, Visit
from ..relatives import relatives
from ..veil import HIDDEN, call_of, veiled

_ENDS = {"d": "done", "f": "failed", "c": "cancelled"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """A run of a message, as far as it left a trace."""

    state: str
    at: datetime | None = None
    worker: str | None = None
    wait_ms: int | None = None
    run_ms: int | None = None
    error: str | None = None
    traceback: str | None = None
    reason: str | None = None
    lost_workers: int = 0
    retries: int | None = None


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
            "timeline": _timeline(found),
            "attempts": _attempts(found, call),
            "call": call,
            "result": _result(visit, message_id, actor, queue),
            "relatives": [] if call is None or call.get("hidden") else relatives(call),
            "can": _can(found, explanation.status),
        },
        404 if explanation.status == "unknown" else 200,
    )  # fmt: skip


def _payload(found: Found) -> bytes | None:
    if found.live:
        return found.live[0].payload
    return found.letters[0].payload if found.letters else None


def _names(found: Found) -> tuple[str | None, str | None, int | None]:
    rows: list[LiveRow | DeadLetter | End] = [*found.live, *found.letters, *found.ends]
    for row in rows[:1]:
        return row.actor_name, row.queue_name, row.priority
    return None, None, None


def _can(found: Found, status: str) -> list[str]:
    """What may be done to a message as it is now."""
    if status == "running":
        return ["cancel"]
    if status == "scheduled":
        return ["retry", "cancel", "delete"]
    if status == "queued":
        return ["cancel", "delete"]
    return ["requeue", "delete"] if found.letters else []


# ── What happened, in order ───────────────────────────────────────────────────────────────────────


def _timeline(found: Found) -> list[dict[str, Any]]:
    moments: list[tuple[datetime, str]] = []
    for end in found.ends:
        ran = timedelta(milliseconds=end.run_ms)
        began = end.finished_at - ran
        moments.append((began - timedelta(milliseconds=end.wait_ms), "ready"))
        if end.status != "c" or end.run_ms:
            moments.append((began, "begun"))
        moments.append((end.finished_at, _ENDS[end.status]))
    for row in found.live:
        moments.append(
            (
                row.enqueued_at,
                "due" if row.state == "scheduled" and row.enqueued_at == row.since else "enqueued",
            )
        )
        if row.state in {"running", "parked"}:
            moments.append((row.since, "claimed" if row.state == "running" else "put aside"))
        if row.state == "running":
            moments += [
                (run.since, "begun")
                for crew in found.crew
                for run in crew.running
                if run.message_id == found.message_id
            ]
        if row.state == "scheduled":
            moments.append((row.since, "due"))
    moments += [
        (letter.enqueued_at, "enqueued") for letter in found.letters if letter.enqueued_at is not None
    ]
    failed = {end.finished_at.replace(microsecond=0) for end in found.ends if end.status == "f"}
    moments += [
        (letter.died_at, "dead letter")
        for letter in found.letters
        if letter.died_at.replace(microsecond=0) not in failed
    ]
    ordered = sorted(set(moments))
    return [
        {"at": at, "what": what, "after_s": (at - ordered[number - 1][0]).total_seconds() if number else None}
        for number, (at, what) in enumerate(ordered)
    ]


def _attempts(found: Found, call: dict[str, Any] | None) -> list[Attempt]:
    """The runs that left a trace, the last one first: ends, dead letters, and the last failure that was retried."""
    letters = {letter.died_at.replace(microsecond=0): letter for letter in found.letters}
    attempts = [
        Attempt(
            "running",
            row.since,
            worker=next((crew.name for crew in found.crew if crew.owner == row.owner), None),
        )
        for row in found.live
        if row.state == "running"
    ]
    for end in found.ends:
        letter = letters.pop(end.finished_at.replace(microsecond=0), None) if end.status == "f" else None
        attempts.append(
            Attempt(
                _ENDS[end.status], end.finished_at, wait_ms=end.wait_ms, run_ms=end.run_ms, lost_workers=end.attempts,
                error=end.error,
                traceback=None if letter is None else letter.traceback,
            )
        )  # fmt: skip
    attempts += [
        Attempt(
            "failed", letter.died_at, reason=letter.reason, lost_workers=letter.attempts,
            error=letter.error,
            traceback=letter.traceback,
        )
        for letter in letters.values()
    ]  # fmt: skip
    if call is not None and call.get("traceback") and not any(each.traceback for each in attempts):
        attempts.append(_retried(call))
    return attempts


def _retried(call: dict[str, Any]) -> Attempt:
    """What retries have left in a message's options: how often it has failed, and how it did last."""
    traceback = str(call["traceback"])
    retries = call["options"].get("retries")
    return Attempt(
        "retried",
        retries=retries if isinstance(retries, int) else None,
        error=traceback.strip().splitlines()[-1] if traceback.strip() else None,
        traceback=traceback,
    )


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
        return {"value": get_encoder().decode(value)}
    except (DecodeError, LookupError, TypeError, ValueError):  # whatever encoders raise
        return {"value": f"{len(value)} bytes that this process's encoder can't read"}
