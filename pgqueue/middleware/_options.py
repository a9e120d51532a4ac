"""What an actor's options may be: mistakes are refused where they are written, not found when a message fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["check_actor", "check_duration", "check_number"]


def check_number(options: Mapping[str, Any], name: str, *, expected: str) -> None:
    """Refuse what can't be compared with a number; None is for the middleware to explain.

    Raises:
      TypeError: It can't.
    """
    value = options.get(name)
    try:
        _ = value is None or value >= 0
    except TypeError:
        raise TypeError(f"The actor option {name} is {value!r}: {expected} is expected.") from None


def check_duration(options: Mapping[str, Any], name: str) -> None:
    """The same for a number of milliseconds, which can't be negative.

    Raises:
      TypeError: It is no number.
      ValueError: It is below 0.
    """
    check_number(options, name, expected="a number of milliseconds")
    value = options.get(name)
    if value is not None and value < 0:
        raise ValueError(
            f"The actor option {name} is {value!r}: a number of milliseconds is expected, 0 or more."
        )


def check_actor(options: Mapping[str, Any], name: str) -> None:
    """Refuse what does not name an actor.

    Raises:
      TypeError: It does not.
    """
    value = options.get(name)
    if value is not None and not isinstance(value, str):
        hint = f": {name}={value.actor_name!r}" if hasattr(value, "actor_name") else ""
        raise TypeError(f"The actor option {name} is {value!r}: the name of an actor is expected{hint}.")
