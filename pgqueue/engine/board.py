"""The running board: shared memory in which a worker process notes what it runs.

Those who take over from a dead process read it. A write is one store of eight bytes: no lock, no system call.
"""

import enum
import mmap
import signal
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

#: Owners that a process may have had; a new one comes with each new claim connection, the oldest is overwritten.
OWNERS = 16

#: Threads, owners written so far, how the process ended (its exit code, negative for a signal's number), and why.
_HEADER = struct.Struct("<IIqq")
_OWNER_BYTES = 16
_FIRST_THREAD = _HEADER.size + OWNERS * _OWNER_BYTES

#: How the boards of dead processes are called.
_DEAD = ".dead"


class Cause(enum.IntEnum):
    """Why a process was killed, as far as its supervisor can tell."""

    UNKNOWN = 0
    OUT_OF_MEMORY = 1
    TIME_LIMIT = 2


_BECAUSE = {
    Cause.UNKNOWN: "",
    Cause.OUT_OF_MEMORY: ", most likely because the system was out of memory",
    Cause.TIME_LIMIT: ", because a message was far beyond its time limit in code that can't be interrupted",
}


@dataclass(frozen=True, slots=True)
class Noted:
    """What a board held.

    Attributes:
      owners: In whose name messages were claimed.
      running: The ids of those messages that were running.
      end: How the process ended, as the end of a sentence.
    """

    owners: list[UUID]
    running: list[int]
    end: str = ""


class Board:
    """Three eight-byte cells for each worker thread and a ring of owners, in a file of the supervisor's."""

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        threads = _HEADER.unpack_from(memory)[0]
        second = _FIRST_THREAD + 8 * threads
        self._cells = memoryview(memory)[_FIRST_THREAD:second].cast("q")
        third = second + 8 * threads
        self._limits = memoryview(memory)[second:third].cast("d")
        self._names = memoryview(memory)[third : third + 8 * threads].cast("Q")

    @classmethod
    def create(cls, path: Path, threads: int) -> "Board":
        """Make an empty board in a new file."""
        path.write_bytes(_HEADER.pack(threads, 0, 0, 0).ljust(_FIRST_THREAD, b"\0") + bytes(24 * threads))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Board":
        """Map a board that exists."""
        with path.open("r+b") as file:
            return cls(path, mmap.mmap(file.fileno(), 0))

    def add_owner(self, owner: UUID) -> None:
        """Note that messages are claimed in this name from now on."""
        threads, written, code, cause = _HEADER.unpack_from(self._memory)
        place = _HEADER.size + (written % OWNERS) * _OWNER_BYTES
        self._memory[place : place + _OWNER_BYTES] = owner.bytes
        _HEADER.pack_into(self._memory, 0, threads, written + 1, code, cause)

    def name(self, thread: int, identifier: int) -> None:
        """Note what Python calls a thread."""
        if thread < len(self._names):
            self._names[thread] = identifier

    def note(self, thread: int, message: int) -> None:
        """Note the message that a thread runs; 0 for none. Threads beyond the board's are not noted."""
        if thread < len(self._cells):
            self._cells[thread] = message

    def limit(self, thread: int, until: float) -> None:
        """Note by when, on the monotonic clock, the message of a thread must have ended; 0.0 for no matter when."""
        if thread < len(self._limits):
            self._limits[thread] = until

    def overdue(self, now: float) -> list[int]:
        """The messages that should have ended before ``now``."""
        # The message first: if its thread goes on to another meanwhile, the limit that is read is 0 or the other's.
        pairs = [(self._cells[n], self._limits[n]) for n in range(len(self._cells))]
        return [message for message, until in pairs if message and 0.0 < until < now]

    def run_by(self, identifier: int) -> int:
        """The message that the thread runs which Python calls so; 0 for none."""
        names = list(self._names)
        return self._cells[names.index(identifier)] if identifier and identifier in names else 0

    def read(self) -> Noted:
        """What the board holds."""
        _, written, code, cause = _HEADER.unpack_from(self._memory)
        places = [_HEADER.size + n * _OWNER_BYTES for n in range(min(written, OWNERS))]
        owners = [UUID(bytes=self._memory[place : place + _OWNER_BYTES]) for place in places]
        return Noted(owners, [cell for cell in self._cells if cell], how_it_ended(code, Cause(cause)))

    def bequeath(
        self, *, code: int, cause: Cause = Cause.UNKNOWN, culprits: Collection[int] | None = None
    ) -> None:
        """Leave the board of a dead process to those who look for such: see `dead_boards`.

        Parameters:
          code: The process's exit code, negative for a signal's number.
          culprits: Of the messages that it was running, those that it died of; None if that can't be told.
        """
        threads, written, _, _ = _HEADER.unpack_from(self._memory)
        _HEADER.pack_into(self._memory, 0, threads, written, code, cause)
        for thread, message in enumerate(self._cells):
            if culprits is not None and message not in culprits:
                self._cells[thread] = 0
        self.path.rename(self.path.with_suffix(_DEAD))

    def close(self) -> None:
        """Unmap the board."""
        self._cells.release()
        self._limits.release()
        self._names.release()
        with suppress(BufferError):
            self._memory.close()


def dead_boards(directory: Path) -> Iterator[tuple[Path, Noted]]:
    """The boards that dead processes have left in a directory; others may be removing them."""
    for path in sorted(directory.glob(f"*{_DEAD}")):
        with suppress(FileNotFoundError, ValueError, struct.error):
            board = Board.open(path)
            noted = board.read()
            board.close()
            yield path, noted


def how_it_ended(code: int, cause: Cause = Cause.UNKNOWN) -> str:
    """Say how a process ended, in words that follow its name."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        killed = f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        killed = f"was killed by signal {-code}"
    return killed + _BECAUSE[cause]
