"""Actions on all that match: first a preview, then step by step, each a request of its own that says how far it is.

The steps need no memory of the server's: whichever process answers goes on where the one before has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...operations import acting
from ...operations.acting import Step
from ...operations.listing import MessageFilter
from ...storage.database import Database
from ...storage.dead_letters import DeadLetter
from ..endpoint import Answer, BadRequest, Done, Visit
from ..filters import letter_filter, letter_parameters, message_filter, message_parameters
from ..letters import call_of_letter, concealed, youngest
from ..veil import veiled_error

#: Seconds that a step goes on for, and how many messages a preview shows.
STEP_S, SAMPLE = 1.5, 5

WAITING = ("queued", "parked", "scheduled")

_OF_MESSAGES = {"retry": "made ready now", "cancel": "cancelled", "delete": "deleted"}
_OF_LETTERS = {"requeue": "requeued", "purge": "deleted for good"}


def messages(visit: Visit) -> Answer:
    """Show what an action would be about: how many messages, and the first of them."""
    action = visit.one_of("action", tuple(_OF_MESSAGES), default="delete")
    which = _waiting(visit, action)
    preview = acting.preview_messages(visit.site.database, which, sample=SAMPLE)
    return Answer("all_that_match.html", {
        "what": "messages", "action": action, "done_as": _OF_MESSAGES[action],
        "matched": preview.number, "complete": preview.complete,
        "sample": [
            {"message_id": each.message_id, "actor": each.actor_name, "queue": each.queue_name, "note": each.state}
            for each in preview.sample
        ],
        "filter": message_parameters(visit), "states": list(which.states), "done": 0, "cursor": None,
    })  # fmt: skip


def _waiting(visit: Visit, action: str) -> MessageFilter:
    """The messages that are meant: of those that match, the ones that no worker holds."""
    which = message_filter(visit)
    possible = ("scheduled",) if action == "retry" else WAITING
    states = tuple(state for state in which.states if state in possible)
    if not states:
        raise BadRequest(
            f"Only messages that are {' or '.join(possible)} can be {_OF_MESSAGES[action]} all at once; the filter "
            f"asks for {', '.join(which.states)}."
        )
    return replace(which, states=states)


def letters(visit: Visit) -> Answer:
    """Show which dead letters an action would be about."""
    action = visit.one_of("action", tuple(_OF_LETTERS), default="requeue")
    which, settings = letter_filter(visit), visit.site.settings
    hidden = concealed(visit, which)
    number, complete = acting.count_letters(visit.site.database, which, but_of=hidden)
    sample = youngest(visit, which, limit=SAMPLE)
    return Answer("all_that_match.html", {
        "what": "dead letters", "action": action, "done_as": _OF_LETTERS[action],
        "matched": number, "complete": complete,
        "sample": [
            {
                "message_id": each.name, "actor": each.actor_name, "queue": each.queue_name,
                "note": veiled_error(settings, each.actor_name, each.error) or each.reason,
                "call": call_of_letter(settings, each),
            }
            for each in sample
        ],
        "filter": letter_parameters(visit), "states": [], "done": 0, "cursor": None,
    })  # fmt: skip


# ── Steps ─────────────────────────────────────────────────────────────────────────────────────────


def act_on_messages(visit: Visit) -> Answer | Done:
    """Act for a while on messages that match."""
    action = visit.one_of("action", tuple(_OF_MESSAGES), default="delete")
    which = _waiting(visit, action)

    def step(database: Database, cursor: str | None) -> Step:
        if action == "retry":
            return acting.hasten_step(database, which, cursor=cursor)
        return acting.remove_step(database, which, record=action == "cancel", cursor=cursor)

    shown = {
        "what": "messages",
        "action": action,
        "done_as": _OF_MESSAGES[action],
        "filter": message_parameters(visit),
    }
    return _go_on(visit, step, {**shown, "states": list(which.states)}, then="/messages")


def act_on_letters(visit: Visit) -> Answer | Done:
    """Act for a while on dead letters that match."""
    action = visit.one_of("action", tuple(_OF_LETTERS), default="requeue")
    which = letter_filter(visit)
    hidden = concealed(visit, which)
    most_bytes = None if action == "requeue" else 0

    def act(database: Database, found: Sequence[DeadLetter]) -> int:
        chosen = [letter for letter in found if not hidden(letter.actor_name)]
        return acting.requeue(database, chosen) if action == "requeue" else acting.drop(database, chosen)

    def step(database: Database, cursor: str | None) -> Step:
        return acting.letters_step(database, which, act, cursor=cursor, most_bytes=most_bytes)

    shown = {
        "what": "dead letters",
        "action": action,
        "done_as": _OF_LETTERS[action],
        "filter": letter_parameters(visit),
    }
    return _go_on(visit, step, {**shown, "states": []}, then="/dead")


def _go_on(
    visit: Visit, step: Callable[[Database, str | None], Step], shown: dict[str, object], *, then: str
) -> Answer | Done:
    done, matched = (_number(visit, name) for name in ("done", "matched"))
    cursor = visit.field("cursor")
    deadline = time.monotonic() + STEP_S
    while True:
        part = step(visit.site.database, cursor)
        done, cursor = done + part.done, part.cursor
        if cursor is None:
            said = f"{done:,} {shown['what']} {shown['done_as']}."
            return Done([said], then, {"done": done, "cursor": None})
        if time.monotonic() > deadline:
            progress = {
                "matched": max(matched, done),
                "complete": False,
                "sample": [],
                "done": done,
                "cursor": cursor,
            }
            return Answer("all_that_match.html", {**shown, **progress})


def _number(visit: Visit, name: str) -> int:
    text = visit.field(name) or "0"
    if not text.isdecimal() or len(text) > 15:
        raise BadRequest(f"{name} is {text!r}: expected a number.")
    return int(text)
