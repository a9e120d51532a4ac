"""What is kept of a failed attempt: its error, its traceback, and how many have failed before it."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from ..common import error_text
from ..errors import ActorNotFound
from ..middleware.retries import TRACEBACK_FRAMES
from ..storage.verdict_columns import Failure

if TYPE_CHECKING:
    from typing import Any

    from ..broker import MessageProxy
    from ..message import Message

#: The longest error and the longest traceback of an attempt, in characters; of a longer one the middle is left out.
LONGEST_ERROR, LONGEST_TRACEBACK = 2_000, 16_000

#: Of a message that is retried without end each of so many attempts is kept, then the 64th, the 128th and so on.
KEPT_IN_A_ROW = 32

__all__ = ["failure_of", "is_kept", "kept_text", "retries_of", "traceback_of"]


def retries_of(message: Message[Any] | MessageProxy) -> int:
    """How many attempts of a message have failed before, as Retries counts them."""
    retries = message.options.get("retries", 0)
    return retries if isinstance(retries, int) else 0


def traceback_of(message: MessageProxy, error: BaseException, *, retries: int) -> str | None:
    """The traceback of an attempt: what Retries has noted of this one, or else made here."""
    if isinstance(error, ActorNotFound):
        return None
    if retries_of(message) > retries and (noted := message.options.get("traceback")) is not None:
        return kept_text(str(noted))
    try:
        return kept_text("".join(traceback.format_exception(error, limit=-TRACEBACK_FRAMES)))
    except Exception:  # noqa: BLE001  # an application's class may do anything
        return None


def failure_of(error: BaseException, text: str | None, *, retries: int) -> Failure:
    """The attempt, as it is kept."""
    return Failure(
        shortened(kept_text(f"{type(error).__name__}: {error_text(error)}"), LONGEST_ERROR),
        None if text is None else shortened(text, LONGEST_TRACEBACK),
        retries if 0 <= retries < 2**31 else None,
    )


def is_kept(retries: int) -> bool:
    """Whether the attempt after so many is kept, if it is retried."""
    number = retries + 1
    return number <= KEPT_IN_A_ROW or number.bit_count() == 1


def shortened(text: str, longest: int) -> str:
    """``text`` without its middle, if it is longer."""
    if len(text) <= longest:
        return text
    head = longest // 4
    return f"{text[:head]}\n[… {len(text) - longest} characters are left out …]\n{text[head - longest :]}"


def kept_text(text: str) -> str:
    """``text`` as PostgreSQL can keep it: without NUL and lone surrogates."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
