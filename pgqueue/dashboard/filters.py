"""Filters of messages and of dead letters as an address has them, to be kept and sent on."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from ..clock import server_now
from ..operations.listing import LIVE, STATES, MessageFilter
from ..storage.dead_letters import LetterFilter
from .endpoint import BadRequest
from .veil import carries_hidden

if TYPE_CHECKING:
    from .endpoint import Visit

__all__ = ["instant", "letter_filter", "letter_parameters", "message_filter", "message_parameters"]

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def message_filter(visit: Visit) -> MessageFilter:
    """The messages that an address asks for; those that can still run unless it says more."""
    chosen = set(visit.texts("state"))
    if wrong := sorted(chosen - {*STATES, "live"}):
        raise BadRequest(f"There is no state {wrong[0]!r}: expected {', '.join(STATES)}, or live.")
    if not chosen or "live" in chosen:
        chosen |= set(LIVE)
    if visit.text("error") and not visit.texts("state"):
        chosen = {"failed"}  # no message that can still run has an error
    since, until = (instant(visit.text(name), name) for name in ("since", "until"))
    settings = visit.site.settings
    return MessageFilter(
        tuple(state for state in STATES if state in chosen),
        queue_name=visit.text("queue"),
        actor_name=visit.text("actor"),
        since=since,
        until=until,
        error=visit.text("error"),
        search=visit.text("search"),
        hidden=settings.hides,
        carries_hidden=partial(carries_hidden, settings) if settings.hides_anything else None,
    )


def message_parameters(visit: Visit) -> dict[str, object]:
    """The same as parameters of an address."""
    names = ("queue", "actor", "since", "until", "error", "search")
    return {"state": visit.texts("state"), **{name: visit.text(name) for name in names}}


def letter_filter(visit: Visit) -> LetterFilter:
    """The dead letters that an address asks for."""
    return LetterFilter(*(visit.text(name) for name in ("queue", "actor", "reason", "error")))


def letter_parameters(visit: Visit) -> dict[str, object]:
    """The same as parameters of an address."""
    return {name: visit.text(name) for name in ("queue", "actor", "reason", "error")}


def instant(text: str | None, name: str) -> datetime | None:
    """An instant: ISO 8601 (UTC unless it says otherwise), or how long ago, as in ``15m``, ``2h``, ``1d``."""
    if text is None:
        return None
    try:
        if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
            return server_now() - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadRequest(
            f"{name} is {text!r}: expected an instant like 2025-01-31T14:30, or how long ago, like 15m, 2h or 1d."
        ) from error
