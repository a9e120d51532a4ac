"""Waiting for a fact instead of for the clock (house rule 35)."""

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["eventually"]

T = TypeVar("T")


def eventually(check: Callable[[], T], *, within_s: float = 30.0) -> T:
    """Repeat ``check`` until it stops failing its assertion; return what it returns."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.01)
