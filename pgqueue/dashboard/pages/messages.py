"""Messages: a list with filters that live in the address, page by page."""

from __future__ import annotations

from dataclasses import replace

from ...operations import overview
from ...operations.listing import LIVE, MOST_LOOKED_AT, MOST_SEARCHED, STATES, Page, list_messages
from ...storage.listings import Listed
from ..endpoint import Answer, BadRequest, Visit
from ..filters import message_filter, message_parameters
from ..veil import veiled_error

#: Messages on a page: unless asked for, and at most.
PAGE, LONGEST_PAGE = 50, 500

#: Blocks of outcomes that are searched for a page, some 80 messages each: what a page can wait for.
MOST_BLOCKS = 512


def page(visit: Visit) -> Answer:
    """List messages."""
    which = message_filter(visit)
    listed = list_messages(
        visit.site.database, which, limit=_limit(visit), cursor=visit.text("after"), most_blocks=MOST_BLOCKS
    )
    shown = [_shown(visit, message) for message in listed.messages]
    parameters = message_parameters(visit)
    return Answer("messages.html", {
        "messages": shown,
        "cursor": listed.cursor,
        "capped": listed.capped,
        "searched_up_to": MOST_SEARCHED if which.search else MOST_LOOKED_AT,
        "next": None if listed.cursor is None else _next(visit, parameters, listed),
        "first": visit.text("after") is None,
        "filter": parameters,
        "chosen": list(which.states),
        "tabs": _tabs(visit, parameters, which.states),
        "known_queues": sorted(overview.known_queues(visit.site.database)),
        "some_wait": bool(set(which.states) & {"queued", "parked", "scheduled"}),
        "some_scheduled": "scheduled" in which.states,
    })  # fmt: skip


def _limit(visit: Visit) -> int:
    text = visit.text("limit") or str(PAGE)
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= LONGEST_PAGE:
        raise BadRequest(f"limit is {text[:100]!r}: expected a number from 1 to {LONGEST_PAGE}.")
    return int(text)


def _shown(visit: Visit, message: Listed) -> Listed:
    return replace(message, error=veiled_error(visit.site.settings, message.actor_name, message.error))


def _next(visit: Visit, parameters: dict[str, object], listed: Page) -> str:
    return visit.link("/messages", **_filled(parameters), after=listed.cursor, limit=visit.text("limit"))


def _filled(parameters: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if value}


def _tabs(visit: Visit, parameters: dict[str, object], chosen: tuple[str, ...]) -> list[dict[str, object]]:
    """Links to each state with the other filters as they are."""
    others = {name: value for name, value in _filled(parameters).items() if name != "state"}
    alive = {name: value for name, value in others.items() if name != "error"}
    tabs = [("can still run", None, LIVE), *((state, state, (state,)) for state in STATES)]
    rest = set(chosen) - set(LIVE) if set(LIVE) <= set(chosen) else set(chosen)
    return [
        {
            "label": label,
            "href": visit.link("/messages", **(alive if states[0] in LIVE else others), state=state),
            "chosen": set(states) <= (set(chosen) if state is None else rest),
        }
        for label, state, states in tabs
    ]
