"""Says in the database what a process serves, what it has been running for a while, and how it is."""

from collections.abc import Callable, Collection, Mapping

from ..maintenance.duty import Again, Duty
from ..storage import workers
from ..storage.database import Connection
from ..storage.statements import Statements
from .control import Standing
from .footprint import resident_bytes
from .leases import Leases
from .recent import RecentFaults
from .running import Running

#: Seconds between two looks. Nothing is written unless something has changed.
INTERVAL_S = 2.0

#: Only messages that have run for so many seconds are told of: a worker that runs thousands a second writes nothing.
LONG_S = 1.0

#: The memory is told anew when it differs by so many bytes, and by a tenth, from what was told.
MEMORY_STEP = 8 * 1024**2


class Publication(Duty):
    """Keeps a process's row in worker_states.

    Parameters:
      queues: Tells which queues are consumed.
      actors: Tells which actors are declared.
      standing: The orders that it obeys.
      memory: Tells how many bytes of memory it holds; 0 where the system doesn't tell.

    Attributes:
      failing: Tells which duties fail, and of what; set by whoever runs them.
    """

    failing: Callable[[], Mapping[str, str]]

    def __init__(
        self,
        statements: Statements,
        leases: Leases,
        running: Running,
        *,
        queues: Callable[[], Collection[str]],
        actors: Callable[[], Collection[str]],
        standing: Standing | None = None,
        memory: Callable[[], int] = resident_bytes,
    ) -> None:
        super().__init__(statements)
        self._leases = leases
        self._running = running
        self._queues = queues
        self._actors = actors
        self._standing = standing or Standing()
        self._memory = memory
        self.failing = dict
        self._recent = RecentFaults()
        self._said: tuple[object, ...] | None = None
        self._said_bytes = 0

    def reconnected(self) -> None:
        """Say it again."""
        self._said = None

    def run_once(self, conn: Connection) -> Again:
        """Say what has changed."""
        owner = self._leases.current()
        if owner is not None:
            running_ms = self._running.for_longer_than(LONG_S)
            queues, actors = frozenset(self._queues()), frozenset(self._actors())
            duties, recent = self.failing(), self._recent.counts()
            present = (owner, queues, actors, frozenset(running_ms), self._standing.state, duties, recent)
            held = self._memory()
            if present != self._said or self._differs(held):
                workers.publish(
                    conn, self.statements, owner=owner, queues=queues, actors=actors, running_ms=running_ms,
                    state=self._standing.state, memory_bytes=held or None, duties=duties, recent=recent,
                )  # fmt: skip
                self._said, self._said_bytes = present, held
        return Again(INTERVAL_S)

    def _differs(self, held: int) -> bool:
        return abs(held - self._said_bytes) > max(MEMORY_STEP, self._said_bytes // 10)
