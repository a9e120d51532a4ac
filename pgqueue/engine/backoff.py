"""How long to wait before a lost connection is tried again."""

import random


class Backoff:
    """Waits that double from ``first_s`` to ``most_s``, each shortened by up to half so that a fleet spreads out."""

    def __init__(self, *, first_s: float = 0.05, most_s: float = 2.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = 0.0

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self._next_s = 0.0

    def next_s(self) -> float:
        """Seconds to wait now: nothing after the first failure."""
        wait_s = self._next_s
        self._next_s = min(max(wait_s * 2, self._first_s), self._most_s)
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311  (spreads load, keeps no secret)
