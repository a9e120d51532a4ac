"""Transactions that are made again where the server had to end them."""

import time
from collections.abc import Callable
from functools import wraps
from random import uniform
from typing import ParamSpec, TypeVar

from psycopg import errors

__all__ = ["again_after_deadlock", "is_deadlock"]

P = ParamSpec("P")
T = TypeVar("T")

#: How often one is tried: each time the other one of the two gets through.
ATTEMPTS = 10

#: Seconds to wait at most, so that two of a kind don't meet again.
PAUSE_S = 0.1


def is_deadlock(error: BaseException) -> bool:
    """Whether the server ended a transaction, because it and another waited for each other."""
    return isinstance(error, errors.DeadlockDetected)


def again_after_deadlock(act: Callable[P, T]) -> Callable[P, T]:
    """Have ``act``, which does its work in one transaction of its own, tried again where that met a deadlock.

    Operators act on many messages at a time, each in an order of its own, and on single ones beside that: of two that
    wait for each other, the server undoes one after a second.
    """

    @wraps(act)
    def insist(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                return act(*args, **kwargs)
            except errors.DeadlockDetected:  # it is undone whole
                time.sleep(uniform(0.0, PAUSE_S))  # noqa: S311  (spreads load)
        return act(*args, **kwargs)

    return insist
