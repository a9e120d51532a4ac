"""The machine's own noise beside a drill: what keeps a process from waking in time keeps workers, too."""

from dataclasses import dataclass
from signal import SIGTERM

from tests.support.processes import Process

__all__ = ["Noise", "measured"]

#: Sleeps a millisecond at a time; counts how often it woke ten or more too late, and by how much at most.
_SLEEPER = """
import signal, sys, time

longest, late, times = 0.0, 0, 0

def end(*_):
    print("slept", longest, late, times, flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
print("up", flush=True)
while True:
    began = time.monotonic()
    time.sleep(0.001)
    over = time.monotonic() - began - 0.001
    longest, late, times = max(longest, over), late + (over > 0.01), times + 1
"""


@dataclass(frozen=True, slots=True)
class Noise:
    """How much too late a sleeping process woke.

    Attributes:
      longest_s: By how much at most.
      late_percent: How often by ten milliseconds or more.
    """

    longest_s: float
    late_percent: float


class measured:  # noqa: N801  # reads as what it is: with measured() as noise
    """Measures while the block runs; `found` once it has ended."""

    def __enter__(self) -> "measured":
        self._process = Process(["-c", _SLEEPER], warm=True)
        self._process.wait_for("up")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send(SIGTERM)
        self._process.wait()
        longest, late, times = self._process.output.split("slept")[1].split()[:3]
        self._process.close()
        self.found = Noise(round(float(longest), 4), round(100 * int(late) / max(1, int(times)), 4))
