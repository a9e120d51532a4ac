"""Dead letters as pages list them: with small payloads only, and as if hidden ones did not match words of errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..operations import acting
from ..storage.dead_letters import DeadLetter, LetterFilter
from .veil import call_of

if TYPE_CHECKING:
    from .endpoint import Visit
    from .settings import Settings

__all__ = ["call_of_letter", "concealed", "youngest"]

#: The longest payload that a list shows; a longer one is on the message's own page.
MOST_BYTES = 16_384


def concealed(visit: Visit, which: LetterFilter) -> Callable[[str], bool]:
    """Of which actors there are no letters, as it seems, for whoever asks for words of their errors."""
    settings = visit.site.settings
    return settings.hides if which.error and settings.hides_anything else lambda _: False


def youngest(
    visit: Visit, which: LetterFilter, *, after: tuple[datetime, int] | None = None, limit: int
) -> list[DeadLetter]:
    """The youngest letters that match and may be known to, after a place; looks at `acting.MOST_COUNTED` at most.

    How many there are, and where they end, says nothing of those that are left out.
    """
    hidden = concealed(visit, which)
    at_once = acting.BATCH if which.error and visit.site.settings.hides_anything else limit
    found: list[DeadLetter] = []
    for _ in range(acting.MOST_COUNTED // at_once):
        part = acting.letters_after(visit.site.database, which, after, limit=at_once, most_bytes=MOST_BYTES)
        found += [letter for letter in part if not hidden(letter.actor_name)]
        if len(found) >= limit or len(part) < at_once:
            break
        after = part[-1].died_at, part[-1].id
    return found[:limit]


def call_of_letter(settings: Settings, letter: DeadLetter) -> dict[str, Any]:
    """What a letter was called with, if that is short."""
    if letter.size is not None and letter.size > len(letter.payload):
        return {
            "too_large": f"the page of the message has it: /message?id={letter.name}",
            "bytes": letter.size,
        }
    return call_of(settings, letter.payload)
