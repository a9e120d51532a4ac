"""How messages look: in a table, and one of them with everything that is known of it."""

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from ..clock import server_now
from ..errors import DecodeError
from ..message import Message
from ..operations import explaining
from ..operations.course import Attempt, attempts_of
from ..operations.explaining import Explanation, Found
from ..operations.values import as_json
from ..operations.wording import span
from ..storage.database import Database
from ..storage.listings import Listed
from .output import Column, Output, clock, described
from .why import STYLES

__all__ = ["message_table", "payload_text", "show"]

#: How messages end, by the letter that outcomes have for it.
ENDS = {"d": "done", "f": "failed", "c": "cancelled"}

COLUMNS = (
    Column("id"),
    Column("state", rank=1),
    Column("queue", rank=4),
    Column("actor", rank=2, flexible=True),
    Column("priority", rank=6, right=True),
    Column("since", rank=3, right=True),
    Column("worker or error", rank=5, flexible=True),
)


def message_table(output: Output, messages: Sequence[Listed]) -> None:
    """Print a table of messages."""
    now = server_now()
    output.table(COLUMNS, [_cells(message, now) for message in messages])


def _cells(message: Listed, now: datetime) -> list[Text]:
    passed_s = (now - message.since).total_seconds()
    since = f"in {span(-passed_s)}" if passed_s < 0 else f"{span(passed_s)} ago"
    state = "claimed" if message.state == "running" and not message.begun else message.state
    return [
        Text(message.message_id),
        Text(state, style=STYLES[message.state]),
        Text(message.queue_name),
        Text(message.actor_name),
        Text(str(message.priority)),
        Text(since),
        Text(" ".join((message.error or message.holder or "").split())),
    ]


def show(database: Database, output: Output, message_id: str) -> bool:
    """Print everything that is known of a message; answer whether anything is."""
    found = explaining.find(database, message_id)
    explanation = explaining.explain(found)
    if output.json:
        output.data(_data(found, explanation))
        return explanation.status != "unknown"
    output.say(Text.assemble((message_id, "bold"), "  ", (explanation.status, STYLES[explanation.status])))
    for row in found.live:
        output.say(described([
            ("queue", f"{row.queue_name}, priority {row.priority}"), ("actor", row.actor_name),
            ("enqueued", clock(row.enqueued_at)), ("state", f"{row.state} since {clock(row.since)}"),
            ("lost workers", str(row.attempts) if row.attempts else None), *payload_pairs(row.payload),
        ]))  # fmt: skip
    for end in found.ends:
        output.say(described([
            ("queue", f"{end.queue_name}, priority {end.priority}"), ("actor", end.actor_name),
            ("ended", f"{clock(end.finished_at)}, {ENDS[end.status]}"),
            ("waited", span(end.wait_ms / 1000)), ("ran", span(end.run_ms / 1000)), ("error", end.error),
        ]))  # fmt: skip
    for letter in found.letters:
        output.say(described([
            ("queue", f"{letter.queue_name}, priority {letter.priority}"), ("actor", letter.actor_name),
            ("died", f"{clock(letter.died_at)}, {letter.reason}"), ("error", letter.error),
            *payload_pairs(letter.payload),
        ]))  # fmt: skip
    for attempt in attempts_of(found):
        _show_attempt(output, attempt)
    for reason in explanation.because:
        output.say(reason)
    if explanation.remedy is not None:
        output.say(Text.assemble("→ ", (explanation.remedy, "bold")))
    return explanation.status != "unknown"


def _show_attempt(output: Output, attempt: Attempt) -> None:
    output.say(described([
        ("attempt", attempt.state if attempt.retries is None else f"{attempt.retries + 1}, {attempt.state}"),
        ("at", clock(attempt.at) if attempt.at else None), ("by", attempt.worker),
        ("waited", None if attempt.wait_ms is None else span(attempt.wait_ms / 1000)),
        ("ran", None if attempt.run_ms is None else span(attempt.run_ms / 1000)),
        ("error", attempt.error),
    ]))  # fmt: skip
    if attempt.traceback:
        output.say(attempt.traceback.rstrip(), style="dim")


def _data(found: Found, explanation: Explanation) -> dict[str, object]:
    return {
        "message_id": found.message_id,
        "status": explanation.status,
        "because": explanation.because,
        "remedy": explanation.remedy,
        "rows": [
            {
                "state": row.state, "queue": row.queue_name, "priority": row.priority, "actor": row.actor_name,
                "enqueued_at": row.enqueued_at, "since": row.since, "attempts": row.attempts,
                "owner": row.owner, "message": payload_data(row.payload),
            }
            for row in found.live
        ],
        "ends": found.ends,
        "attempts": attempts_of(found),
        "dead_letters": [
            {
                "queue": letter.queue_name, "priority": letter.priority, "actor": letter.actor_name,
                "died_at": letter.died_at, "reason": letter.reason, "error": letter.error,
                "traceback": letter.traceback, "message": payload_data(letter.payload),
            }
            for letter in found.letters
        ],
    }  # fmt: skip


def payload_data(payload: bytes) -> object:
    """A message's fields, or its bytes as text where it can't be decoded."""
    try:
        return Message.decode(payload).asdict()
    except DecodeError:
        return {"undecodable": payload.decode("utf-8", "replace")}


def payload_pairs(payload: bytes) -> list[tuple[str, str | None]]:
    """What a message carries, in lines."""
    try:
        message = Message.decode(payload)
    except DecodeError:
        return [("bytes", repr(payload[:500]))]
    options = {name: value for name, value in message.options.items() if name != "traceback"}
    return [
        ("arguments", payload_text(payload)),
        ("options", as_json(options) if options else None),
    ]


def payload_text(payload: bytes) -> str:
    """A message as a call."""
    try:
        return str(Message.decode(payload))
    except Exception:  # noqa: BLE001  # arguments can be nested too deep, or of classes whose repr() fails
        return repr(payload[:200])
