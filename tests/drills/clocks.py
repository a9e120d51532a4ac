"""A machine whose clock is off: ``python -m tests.drills.clocks SECONDS MODULE …`` runs a module whose clock is ahead.

Python's functions for the time of day are replaced before anything of pgqueue is imported, so no rights and no library
are needed; the program is a real process all the same. The monotonic clock, timers and the server go on as they are.
SIGUSR1 sets the clock as far to the other side, as a correction by hand or by NTP does.
"""

import runpy
import signal
import sys
import time
from typing import Any

__all__ = ["true_time"]

#: The time of day as it is, also in a program whose clock is off.
true_time = getattr(time.time, "unshifted", time.time)


class _Shifted:
    """The time of day, so many seconds ahead."""

    def __init__(self, by_s: int) -> None:
        self.by_s = by_s
        self.unshifted, self._true_ns = time.time, time.time_ns

    def __call__(self) -> float:
        return self.unshifted() + self.by_s

    def ns(self) -> int:
        """The same in nanoseconds."""
        return self._true_ns() + self.by_s * 10**9

    def turn(self, *_: Any) -> None:
        """Set the clock."""
        self.by_s = -self.by_s


def main() -> None:
    """Shift the clock and run what the arguments name."""
    _, by_s, module, *arguments = sys.argv
    shifted = _Shifted(int(by_s))
    time.time, time.time_ns = shifted, shifted.ns
    signal.signal(signal.SIGUSR1, shifted.turn)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
