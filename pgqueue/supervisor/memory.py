"""Whether the kernel kills processes for want of memory: what tells an out-of-memory kill from somebody's SIGKILL."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic

__all__ = ["MemoryKills"]

#: Seconds within which a kill of the kernel's and the death of a process are taken for one.
LATELY_S = 10.0

#: Seconds between two looks.
INTERVAL_S = 1.0


class MemoryKills:
    """Watches the kernel's counter of out-of-memory kills: the container's if there is one, otherwise the machine's.

    Parameters:
      files: Where the counter may be, as a line ``oom_kill N``; the first that has one counts. None: Linux's places.
        Elsewhere there is none, and no death is put down to memory.
    """

    def __init__(self, files: Sequence[Path] | None = None) -> None:
        places = list(_places()) if files is None else files
        self._file = next((file for file in places if _count(file) is not None), None)
        self._known = self._count()
        self._looked_at = monotonic()
        self._moved_at = float("-inf")

    def look(self) -> None:
        """Read the counter, at most once a second."""
        if monotonic() - self._looked_at >= INTERVAL_S:
            self._read()

    def lately(self) -> bool:
        """Whether the kernel has killed a process within the last seconds."""
        self._read()
        return monotonic() - self._moved_at < LATELY_S

    def _read(self) -> None:
        self._looked_at = monotonic()
        count = self._count()
        if count != self._known:
            self._known, self._moved_at = count, self._looked_at

    def _count(self) -> int | None:
        return None if self._file is None else _count(self._file)


def _places() -> Iterator[Path]:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                yield Path(f"/sys/fs/cgroup{path}/memory.events")
            elif "memory" in controllers.split(","):
                yield Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    yield Path("/sys/fs/cgroup/memory.events")
    yield Path("/sys/fs/cgroup/memory/memory.oom_control")
    yield Path("/proc/vmstat")


def _count(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None
