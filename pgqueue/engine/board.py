"""The running board: shared memory in which a worker process notes what it runs.

The supervisor reads it after the process's death. A write is one store of eight bytes: no lock, no system call.
"""

import mmap
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

#: Owners that a process may have had; a new one comes with each new claim connection, the oldest is overwritten.
OWNERS = 16

_HEADER = struct.Struct("<II")  # threads, owners written so far
_OWNER_BYTES = 16
_FIRST_THREAD = _HEADER.size + OWNERS * _OWNER_BYTES


@dataclass(frozen=True, slots=True)
class Noted:
    """What a board held: the owners in whose name messages were claimed, and the ids of those that were running."""

    owners: list[UUID]
    running: list[int]


class Board:
    """One eight-byte cell for each worker thread and a ring of owners, in a file of the supervisor's."""

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        self._cells = memoryview(memory)[_FIRST_THREAD:].cast("q")

    @classmethod
    def create(cls, path: Path, threads: int) -> "Board":
        """Make an empty board in a new file."""
        path.write_bytes(_HEADER.pack(threads, 0).ljust(_FIRST_THREAD, b"\0") + bytes(8 * threads))
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Board":
        """Map a board that exists."""
        with path.open("r+b") as file:
            return cls(path, mmap.mmap(file.fileno(), 0))

    def add_owner(self, owner: UUID) -> None:
        """Note that messages are claimed in this name from now on."""
        threads, written = _HEADER.unpack_from(self._memory)
        place = _HEADER.size + (written % OWNERS) * _OWNER_BYTES
        self._memory[place : place + _OWNER_BYTES] = owner.bytes
        _HEADER.pack_into(self._memory, 0, threads, written + 1)

    def note(self, thread: int, message: int) -> None:
        """Note the message that a thread runs; 0 for none. Threads beyond the board's are not noted."""
        if thread < len(self._cells):
            self._cells[thread] = message

    def read(self) -> Noted:
        """What the board holds."""
        _, written = _HEADER.unpack_from(self._memory)
        places = [_HEADER.size + n * _OWNER_BYTES for n in range(min(written, OWNERS))]
        owners = [UUID(bytes=self._memory[place : place + _OWNER_BYTES]) for place in places]
        return Noted(owners, [cell for cell in self._cells if cell])

    def close(self) -> None:
        """Unmap the board."""
        self._cells.release()
        with suppress(BufferError):
            self._memory.close()
