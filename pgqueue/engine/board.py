"""The running board: shared memory in which a worker process notes what it runs.

Those who take over from a dead process read it. A write is one store of eight bytes: no lock, no system call.
"""

import enum
import mmap
import os
import signal
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from uuid import UUID

from ..logging import own_logger

#: Owners that a process may have had; a new one comes with each new claim connection, the oldest is overwritten.
OWNERS = 16

#: Threads, owners written so far, how the process ended (its exit code, negative for a signal's number), and why.
_HEADER = struct.Struct("<IIqq")

#: Behind them: the process of the server that runs the session in which the owners are locked.
_SESSION = struct.Struct("<q")
_FIRST_OWNER = _HEADER.size + _SESSION.size
_OWNER_BYTES = 16
_FIRST_THREAD = _FIRST_OWNER + OWNERS * _OWNER_BYTES

#: How the boards of dead processes are called.
_DEAD = ".dead"

#: Where a worker process has the file of its board, behind its id: whatever process it starts inherits the variable.
_VARIABLE = "PGQUEUE_BOARD"

logger = own_logger(__name__)


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
      session: The process id, at the server, of the session in which the owners were locked; 0: none was yet.
      keys: What the messages that were running are known by after another claim, by their ids of this one.
    """

    owners: list[UUID]
    running: list[int]
    end: str = ""
    session: int = 0
    keys: Mapping[int, int] = field(default_factory=dict)


class Board:
    """Four eight-byte cells for each worker thread and a ring of owners, in a file of the supervisor's."""

    def __init__(self, path: Path, memory: mmap.mmap) -> None:
        self.path = path
        self._memory = memory
        threads = _HEADER.unpack_from(memory)[0]
        second = _FIRST_THREAD + 8 * threads
        self._cells = memoryview(memory)[_FIRST_THREAD:second].cast("q")
        third = second + 8 * threads
        self._limits = memoryview(memory)[second:third].cast("d")
        fourth = third + 8 * threads
        self._names = memoryview(memory)[third:fourth].cast("Q")
        self._keys = memoryview(memory)[fourth : fourth + 8 * threads].cast("q")

    @classmethod
    def create(cls, path: Path, threads: int) -> "Board":
        """Make an empty board in a new file.

        Raises:
          OSError: There is no room, or there is something of that name.
        """
        with path.open("xb") as file:
            try:
                file.write(_HEADER.pack(threads, 0, 0, 0).ljust(_FIRST_THREAD, b"\0") + bytes(32 * threads))
                file.flush()
            except OSError:
                path.unlink()
                raise
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "Board":
        """Map a board that exists."""
        with path.open("r+b") as file:
            return cls(path, mmap.mmap(file.fileno(), 0))

    @classmethod
    def assigned(cls) -> "Board | None":
        """The board of this process, if it has one: mapped once, for its file may be removed while it is in use."""
        assigned = os.environ.get(_VARIABLE, "")
        pid, _, path = assigned.partition(":")
        return _mapped(int(pid), Path(path)) if pid == str(os.getpid()) else None

    def add_owner(self, owner: UUID) -> None:
        """Note that messages are claimed in this name from now on."""
        threads, written, code, cause = _HEADER.unpack_from(self._memory)
        place = _FIRST_OWNER + (written % OWNERS) * _OWNER_BYTES
        self._memory[place : place + _OWNER_BYTES] = owner.bytes
        _HEADER.pack_into(self._memory, 0, threads, written + 1, code, cause)

    def add_session(self, pid: int) -> None:
        """Note which process of the server runs the session in which owners are locked from now on."""
        _SESSION.pack_into(self._memory, _HEADER.size, pid)

    def name(self, thread: int, identifier: int) -> None:
        """Note what Python calls a thread."""
        if thread < len(self._names):
            self._names[thread] = identifier

    def note(self, thread: int, message: int, key: int = 0) -> None:
        """Note the message that a thread runs; 0 for none. Threads beyond the board's are not noted.

        Parameters:
          key: What it is known by after another claim, which gives it another number.
        """
        if thread < len(self._cells):
            self._keys[thread] = key
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
        places = [_FIRST_OWNER + n * _OWNER_BYTES for n in range(min(written, OWNERS))]
        owners = [UUID(bytes=self._memory[place : place + _OWNER_BYTES]) for place in places]
        keys = {message: key for message, key in zip(self._cells, self._keys, strict=True) if message}
        (session,) = _SESSION.unpack_from(self._memory, _HEADER.size)
        return Noted(owners, list(keys), how_it_ended(code, Cause(cause)), session, keys)

    def bequeath(
        self,
        directory: Path,
        *,
        code: int,
        cause: Cause = Cause.UNKNOWN,
        culprits: Collection[int] | None = None,
    ) -> None:
        """Leave the board of a dead process to those who look for such: see `dead_boards`.

        Parameters:
          directory: Where they look. If that is another than the board's, or its file is gone, a copy goes there.
          code: The process's exit code, negative for a signal's number.
          culprits: Of the messages that it was running, those that it died of; None if that can't be told.

        Raises:
          OSError: It can't be written there.
        """
        threads, written, _, _ = _HEADER.unpack_from(self._memory)
        _HEADER.pack_into(self._memory, 0, threads, written, code, cause)
        for thread, message in enumerate(self._cells):
            if culprits is not None and message not in culprits:
                self._cells[thread] = 0
        left = directory / self.path.with_suffix(_DEAD).name
        if directory == self.path.parent:
            with suppress(FileNotFoundError):
                self.path.rename(left)
                return
        part = left.with_suffix(".part")
        part.write_bytes(self._memory)
        part.rename(left)

    def close(self) -> None:
        """Unmap the board."""
        self._cells.release()
        self._limits.release()
        self._names.release()
        self._keys.release()
        with suppress(BufferError):
            self._memory.close()


@lru_cache(maxsize=1)
def _mapped(_pid: int, path: Path) -> Board | None:
    try:
        return Board.open(path)
    except OSError as error:
        logger.warning(
            "This process can't note what it runs, so it is charged with all that it holds if it dies: %s.",
            error,
        )
        return None


def assign_board(path: Path) -> None:
    """Make a file this process's board, and no other's."""
    os.environ[_VARIABLE] = f"{os.getpid()}:{path}"


def dead_boards(directory: Path) -> Iterator[tuple[Path, Noted]]:
    """The boards that dead processes have left in a directory; others may be removing them."""
    for path in sorted(directory.glob(f"*{_DEAD}")):
        try:
            board = Board.open(path)
            noted = board.read()
            board.close()
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, struct.error) as error:
            logger.warning("'%s' is not the board of a dead process and is removed: %s.", path, error)
            path.unlink(missing_ok=True)
            continue
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
