"""Dead letters: grouped by actor and error, and one by one."""

from __future__ import annotations

from typing import Any

from ...operations.acting import MOST_COUNTED, read_place, write_place
from ...storage import attempts, dead_letters
from ...storage.attempts import FailedAttempt
from ...storage.dead_letters import DeadLetter, LetterFilter, LetterGroup
from ..endpoint import Answer, Visit
from ..filters import letter_filter, letter_parameters
from ..letters import call_of_letter, youngest
from ..veil import veiled_attempt, veiled_error, veiled_group

#: Letters on a page.
PAGE = 50


def page(visit: Visit) -> Answer:
    """Show the groups of those that match, and the youngest of them."""
    which = letter_filter(visit)
    after = visit.text("after")
    letters = youngest(visit, which, after=None if after is None else read_place(after), limit=PAGE)
    groups = _groups(visit, which)
    histories = _attempts(visit, letters)
    cursor = write_place(letters[-1]) if len(letters) == PAGE else None
    filled = {name: value for name, value in letter_parameters(visit).items() if value}
    return Answer("dead.html", {
        "groups": groups,
        "counted": sum(group["count"] for group in groups),
        "counted_up_to": MOST_COUNTED,
        "letters": [
            {**_letter(visit, letter), "history": histories.get(letter.name, [])} for letter in letters
        ],
        "cursor": cursor,
        "next": None if cursor is None else visit.link("/dead", **filled, after=cursor),
        "first": after is None,
        "filter": letter_parameters(visit),
    })  # fmt: skip


def _attempts(visit: Visit, letters: list[DeadLetter]) -> dict[str, list[FailedAttempt]]:
    """The failed attempts of each letter, the last first, without tracebacks: those are on the message's page."""
    with visit.site.database.bounded() as conn:
        found = attempts.find_attempts(
            conn,
            visit.site.database.statements,
            message_ids=[letter.name for letter in letters],
            tracebacks=False,
        )
    settings = visit.site.settings
    return {name: [veiled_attempt(settings, each) for each in some] for name, some in found.items()}


def _groups(visit: Visit, which: LetterFilter) -> list[dict[str, Any]]:
    settings = visit.site.settings
    with visit.site.database.bounded() as conn:
        groups = dead_letters.group(conn, visit.site.database.statements, which=which, most=MOST_COUNTED)
    shown = []
    for group in groups:
        hidden = settings.hides(group.actor_name)
        if hidden and which.error:
            continue
        one = veiled_group(settings, group)
        shown.append({
            "actor": one.actor_name, "queue": one.queue_name, "reason": one.reason, "kind": one.kind,
            "count": one.count, "first_at": one.first_at, "last_at": one.last_at, "last_error": one.last_error,
            "filter": {
                "queue": one.queue_name, "actor": one.actor_name, "reason": one.reason,
                "error": None if hidden else _words_of(one),
            },
        })  # fmt: skip
    return shown


def _words_of(group: LetterGroup) -> str | None:
    """What the errors of a group have in them; of hidden ones nobody can ask for words."""
    if not group.kind:
        return None
    return f"{group.kind}:" if ":" in (group.last_error or "") else group.kind


def _letter(visit: Visit, letter: DeadLetter) -> dict[str, Any]:
    settings = visit.site.settings
    return {
        "message_id": letter.name, "actor": letter.actor_name, "queue": letter.queue_name, "reason": letter.reason,
        "priority": letter.priority, "died_at": letter.died_at, "enqueued_at": letter.enqueued_at,
        "attempts": letter.attempts, "error": veiled_error(settings, letter.actor_name, letter.error),
        "call": call_of_letter(settings, letter),
    }  # fmt: skip
