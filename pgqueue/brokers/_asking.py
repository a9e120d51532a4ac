"""How a broker asks the database for something, over lost connections, and refuses what can't be asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import uniform
from typing import TypeVar

from ..common import checked_name, q_name
from ..errors import BrokerConnectionError, ConnectionClosed
from ..logging import own_logger

__all__ = ["ATTEMPTS", "checked_actor", "checked_id", "checked_queue", "patiently", "pause_after"]

T = TypeVar("T")

#: How often something is tried over lost connections, and the seconds between two tries.
ATTEMPTS, RETRY_S = 6, 0.25

logger = own_logger(__name__)


def patiently(ask: Callable[[], T], *, what: str) -> T:
    """Ask until there is an answer, over connections that are lost meanwhile; for what may be done twice.

    Parameters:
      what: What was not done, if it fails: the beginning of a sentence.

    Raises:
      ConnectionClosed: The database could not be reached, several times.
    """
    attempt = 0
    while True:
        try:
            return ask()
        except BrokerConnectionError as error:
            time.sleep(pause_after(error, attempt, what=what))
        attempt += 1


def pause_after(error: BrokerConnectionError, attempt: int, *, what: str) -> float:
    """The seconds until the next attempt; raises after the last."""
    logger.debug("%s at attempt %d: %s", what, attempt + 1, error)
    if attempt + 1 == ATTEMPTS:
        raise ConnectionClosed(f"{what}, after {ATTEMPTS} attempts: {error}") from error
    return RETRY_S * attempt * uniform(0.5, 1.0)  # noqa: S311  (spreads load, keeps no secret)


def checked_queue(queue_name: object, method: str) -> str:
    """The canonical name of a queue, given any of its names.

    Raises:
      TypeError: It is no name.
      ValueError: PostgreSQL can't keep it.
    """
    return q_name(_checked(queue_name, method, "name of a queue", own="queue_name", example='"default"'))


def checked_actor(actor_name: object, method: str) -> str:
    """The name of an actor.

    Raises:
      TypeError: It is none.
      ValueError: PostgreSQL can't keep it.
    """
    return _checked(actor_name, method, "name of an actor", own="actor_name", example='"name"')


def checked_id(message_id: object, method: str) -> str:
    """A message's id.

    Raises:
      TypeError: It is none.
      ValueError: PostgreSQL can't keep it.
    """
    return _checked(message_id, method, "id of a message as text", example="message.message_id")


def _checked(value: object, method: str, expected: str, *, example: str, own: str = "") -> str:
    """Refuse what is no text; for an actor, which has it as its attribute ``own``, say so."""
    if isinstance(value, str):
        return checked_name(value, f"the {expected}")
    hint = f"actor.{own}" if own and hasattr(value, own) else example
    raise TypeError(f"{method}() takes the {expected}, not {value!r}: broker.{method}({hint}).")
