"""Small rules that everybody shares: queue names, backoff, milliseconds, and how to wait for queues."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from queue import Empty, Queue
from typing import Any, Protocol, TypeVar, overload

from .errors import BadSetting, QueueJoinTimeout

__all__ = [
    "MOST_NAME_BYTES",
    "checked_name",
    "checked_schema",
    "compute_backoff",
    "current_millis",
    "dq_name",
    "error_text",
    "getenv_int",
    "iter_queue",
    "join_all",
    "join_queue",
    "q_name",
    "quoted",
    "to_millis",
    "visible_text",
    "xq_name",
]

#: Bytes of a name in PostgreSQL, and of a schema's whose letters take more than one: the workers' channel adds six.
_MOST_BYTES, _MOST_BYTES_OF_LETTERS = 63, 57

#: What a schema's name may not hold: it is written into strings and bodies of migrations, besides into statements.
_NOT_IN_A_SCHEMA = re.compile(r"['\\:]|\$\$|pgqueue\.|SCHEMA pgqueue|^pg_")

#: The most bytes of the name of a queue or an actor and of a message's id: PostgreSQL has indexes of them.
MOST_NAME_BYTES = 1_000

#: How many letters of one that can't be are shown.
_LETTERS_SHOWN = 200
#: What a terminal may take for an order, or for the direction of the text, and what is shown in its place: names,
#: arguments and errors come from whoever sends messages. One character for one, so that styles stay where they are.
_SHOWN = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: 0x2421,
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD),
}

T = TypeVar("T")


class Joinable(Protocol):
    """A thread, a process, or anything else that can be waited for."""

    def join(self, timeout: float | None = None) -> Any:
        """Wait, for at most ``timeout`` seconds."""


def checked_name(name: str, what: str) -> str:
    """Return a name of a queue or an actor, or a message's id, if PostgreSQL can keep it.

    Parameters:
      what: Which of them it is, for the error: "the name of a queue".

    Raises:
      ValueError: It can't.
    """
    if name.isascii() and len(name) <= MOST_NAME_BYTES and "\0" not in name:
        return name
    size = len(name.encode(errors="replace"))
    if "\0" in name:
        wrong = "It has a NUL in it: leave that out."
    elif any("\ud800" <= letter <= "\udfff" for letter in name):
        wrong = (
            "It has half a letter in it, a lone surrogate, as bytes have that were no UTF-8: "
            "name.encode(errors='replace').decode() is without."
        )
    elif size > MOST_NAME_BYTES:
        wrong = f"It has {size:,}: take a shorter one."
    else:
        return name
    shown = f"{name[:_LETTERS_SHOWN]!r}{'…' if len(name) > _LETTERS_SHOWN else ''}"
    raise ValueError(
        f"{shown} can't be {what}: PostgreSQL keeps names of at most {MOST_NAME_BYTES:,} bytes, in UTF-8 and without "
        f"NUL. {wrong}"
    )


def checked_schema(name: str) -> str:
    """Return the name of a schema.

    Raises:
      BadSetting: It can't be one; that is a ValueError, too.
    """
    most = _MOST_BYTES if name.isascii() else _MOST_BYTES_OF_LETTERS
    size = len(name.encode(errors="replace"))
    if not 0 < size <= most or not name.isprintable() or _NOT_IN_A_SCHEMA.search(name):
        raise BadSetting(
            f"{name!r} can't be the schema (schema=..., --schema or PGQUEUE_SCHEMA): its name must have 1 to 63 bytes, "
            "57 with letters beyond ASCII, all of them printable; no ' \\ : $$ pgqueue. or SCHEMA pgqueue in it, "
            "no pg_ before it."
        )
    return name


def quoted(name: str) -> str:
    """Return a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def compute_backoff(
    attempts: int,
    *,
    factor: int = 5,
    jitter: bool = True,
    max_backoff: int = 2000,
    max_exponent: int = 32,
) -> tuple[int, int]:
    """Compute how long to wait after a failure, growing by powers of two.

    Parameters:
      attempts: How many failures came before this one.
      factor: The first backoff, in milliseconds; with jitter the least it can be.
      max_backoff: The limit in milliseconds.

    Returns:
      ``attempts + 1``, and the backoff in milliseconds.
    """
    backoff = float(factor * 2 ** min(attempts, max_exponent))
    if jitter:
        backoff *= random.uniform(1, 2)  # noqa: S311  # spreads load, guards nothing
        if backoff > max_backoff:
            backoff = max_backoff * random.uniform(0.5, 1)  # noqa: S311
    return attempts + 1, int(min(backoff, max_backoff))


def current_millis() -> int:
    """Return this machine's clock: milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def to_millis(duration: int | timedelta) -> int:
    """Return a duration in milliseconds, which a plain number already is.

    Raises:
      TypeError: It is neither a number nor a timedelta.
    """
    if isinstance(duration, timedelta):
        return duration // timedelta(milliseconds=1)
    if not isinstance(duration, int | float):
        raise TypeError(f"A delay is {duration!r}: a number of milliseconds or a timedelta is expected.")
    return duration


def error_text(error: BaseException) -> str:
    """Return what an exception says, and of one that fails to say anything, that it does."""
    try:
        return str(error)
    except BaseException as fault:  # noqa: BLE001  # an application's class may do anything
        return f"<no text: its __str__ raised {type(fault).__name__}>"


def visible_text(text: str) -> str:
    """Return a text that can be printed: what a terminal would obey is shown as a picture of itself."""
    return text.translate(_SHOWN)


def q_name(queue_name: str) -> str:
    """Return the canonical name of a queue, given any of its names."""
    if queue_name.endswith((".DQ", ".XQ")):
        return queue_name[:-3]
    return queue_name


def dq_name(queue_name: str) -> str:
    """Return the name of the queue's delayed messages, given any of its names."""
    return queue_name if queue_name.endswith(".DQ") else f"{q_name(queue_name)}.DQ"


def xq_name(queue_name: str) -> str:
    """Return the name of the queue's dead letters, given any of its names."""
    return queue_name if queue_name.endswith(".XQ") else f"{q_name(queue_name)}.XQ"


@overload
def getenv_int(name: str) -> int | None: ...
@overload
def getenv_int(name: str, default: int) -> int: ...
def getenv_int(name: str, default: int | None = None) -> int | None:
    """Read a whole number from the environment.

    Parameters:
      name: ``pgqueue_x``; when that is not set, ``dramatiq_x`` is asked.  Either name will do.  Any other name
        is that of a variable of the program's own.

    Raises:
      BadSetting: The variable is set to something else; it is a ValueError, too.
    """
    bare_name = name.removeprefix("pgqueue_").removeprefix("dramatiq_")
    ours = (f"pgqueue_{bare_name}", f"dramatiq_{bare_name}")
    for variable in (name,) if name == bare_name else ours:
        text = os.getenv(variable)
        if text is not None:
            return _whole_number(variable, text)
    return default


def _whole_number(variable: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        message = f"Environment variable {variable!r} must be a whole number, not {text!r}."
        raise BadSetting(message) from None


def iter_queue(queue: Queue[T]) -> Iterator[T]:
    """Take items out of a queue until it is empty."""
    while True:
        try:
            item = queue.get_nowait()
        except Empty:
            return
        yield item


def join_queue(queue: Queue[Any], timeout: float | None = None) -> None:
    """Wait until every item taken from a queue is done: ``queue.join()`` with a limit.

    Parameters:
      timeout: Seconds; None waits for ever.

    Raises:
      QueueJoinTimeout: It took longer.
    """
    with queue.all_tasks_done:
        if not queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, timeout):
            raise QueueJoinTimeout(f"timed out after {timeout:.2f} seconds")


def join_all(joinables: Iterable[Joinable], timeout: int | None = None) -> None:
    """Wait for several threads or processes.

    Parameters:
      timeout: Milliseconds for all of them together; None waits for ever.  Those that are not finished by
        then are left alone, so look at them afterwards.
    """
    if timeout is None:
        for joinable in joinables:
            joinable.join()
        return
    deadline = time.monotonic() + timeout / 1000
    for joinable in joinables:
        joinable.join(timeout=max(0.0, deadline - time.monotonic()))
