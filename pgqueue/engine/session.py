"""A session: one process's work on one database, shared by all its consumers.

Three connections, however many queues and threads: the listener's, the acker's, and one for each intake, of which a
worker has one.
"""

import threading
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count
from uuid import UUID, uuid4

from ..maintenance.duty import Duty
from ..maintenance.lookout import Lookout
from ..maintenance.promoter import Promoter
from ..maintenance.pruner import Pruner
from ..maintenance.reaper import Reaper
from ..maintenance.rotator import Rotator
from ..storage import leases
from ..storage.database import Connection, Database, translated
from ..storage.messages import ClaimedMessage, Verdict
from .acker import Acker, Settled
from .actor_transactions import ActorTransactions, TransactionWatch
from .board import Board
from .control import Control, Standing
from .inheritance import Inheritance
from .leases import Leases
from .listener import Listener
from .presence import Presence
from .publication import Publication
from .running import Running


class _Threads(threading.local):
    """A number for each worker thread, its place on the running board."""

    number: int | None = None


#: Seconds that a closing session waits for its last acks.
LAST_ACKS_S = 30.0


class Session:
    """Opens with the first consumer and closes with the last.

    Parameters:
      transactions: Those of transactional actors; None: none run here.
      on_stop: Called when an operator has ordered the process to stop.
    """

    def __init__(
        self,
        database: Database,
        *,
        threads: int,
        board: Board | None = None,
        dead_letter_ttl_s: float | None = None,
        running: Running | None = None,
        actors: Callable[[], Collection[str]] = tuple,
        transactions: ActorTransactions | None = None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        statements = database.statements
        self.database = database
        self.leases = Leases()
        self.closing = threading.Event()
        self.process: UUID = uuid4()
        self.board = board
        self.standing = Standing()
        self.running = running or Running()
        self._threads = _Threads()
        self._numbers = count()
        self._queue_names: frozenset[str] = frozenset()
        self.transactions = transactions or ActorTransactions(database)
        self._wakes: list[Callable[[int | None], None]] = []
        self._acker = Acker(database, self.leases)
        self._listener = Listener(
            database,
            presence=Presence(
                statements,
                self.leases,
                threads=threads,
                board=board,
                process=self.process,
                ran=self._acker.unwritten.copy,
            ),
            control=Control(
                statements,
                self.standing,
                self.running,
                process=self.process,
                on_change=self._obey,
                on_stop=on_stop,
            ),
            duties=self._duties(dead_letter_ttl_s, actors),
            on_wake=self._wake,
        )
        self._acker.on_delayed = self._expect_due
        self._lock = threading.Lock()

    def _duties(self, dead_letter_ttl_s: float | None, actors: Callable[[], Collection[str]]) -> list[Duty]:
        statements = self.database.statements
        pruner = Pruner(statements) if dead_letter_ttl_s is None else Pruner(
            statements, dead_letter_ttl_s=dead_letter_ttl_s
        )  # fmt: skip
        duties: list[Duty] = [
            Promoter(statements),
            Reaper(statements, own=self.leases.names),
            Rotator(statements),
            pruner,
            Publication(
                statements,
                self.leases,
                self.running,
                queues=lambda: self._queue_names,
                actors=actors,
                standing=self.standing,
            ),
            TransactionWatch(statements, self.transactions),
            Lookout(statements),
        ]
        if self.board is not None:
            duties.insert(0, Inheritance(statements, self.board.path.parent))
        return duties

    def open(self) -> None:
        """Register with the database.

        Raises:
          PgQueueError: The database can't be used: unreachable, without our schema, without the rights.
        """
        self._listener.start_and_wait()
        self._acker.start()

    def close(self) -> None:
        """Write the last acks and leave; whatever is still held goes back to its queues."""
        self.closing.set()
        self._acker.stop(LAST_ACKS_S)
        self._listener.stop()

    def submit(self, verdict: Verdict, released: Callable[[int], None]) -> None:
        """Record a verdict soon; ``released`` is called with a number when that many are durable."""
        self._acker.submit(Settled(verdict, released))

    def set_apart(self, conn: Connection, message: ClaimedMessage) -> ClaimedMessage:
        """Hold a message by a lease of its own, if there are others beside it on its lease."""
        if message.lease.left <= 1:
            return message
        with translated(self.database):
            place = leases.set_apart(conn, self.database.statements, message=message)
        return message if place is None else self.leases.moved(message, lid=place[0], slot=place[1])

    def settled(self, verdicts: Sequence[Verdict]) -> None:
        """Count off verdicts that were committed without the acker."""
        self._acker.settled(verdicts)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until every verdict submitted so far is durable."""
        return self._acker.flush(timeout_s)

    def serve(self, queue_names: Iterable[str]) -> None:
        """Take note that these queues are consumed, too."""
        self._queue_names = self._queue_names | set(queue_names)
        self._listener.nudge(Publication)

    def note(self, message: int, message_id: str = "") -> None:
        """Note, for whoever finds the process dead, what this thread runs; 0 for nothing."""
        if self.board is not None:
            self.board.note(self._thread_number(), message, zlib.crc32(message_id.encode(errors="replace")))

    def limit(self, until: float) -> None:
        """Note by when, on the monotonic clock, what this thread runs must have ended; 0.0 for no matter when."""
        if self.board is not None:
            self.board.limit(self._thread_number(), until)

    def _thread_number(self) -> int:
        number = self._threads.number
        if number is None:
            number = self._threads.number = next(self._numbers)
            if self.board is not None:
                self.board.name(number, threading.get_ident())
        return number

    def need_name(self) -> None:
        """Ask for a new name to claim under."""
        self._listener.nudge(Presence)

    def on_wake(self, call: Callable[[int | None], None], *, forget: bool = False) -> None:
        """Call ``call`` when something may have become ready, with its idle register if one is known; or no more."""
        with self._lock:
            wakes = [known for known in self._wakes if known != call]
            self._wakes = wakes if forget else [*wakes, call]

    def _wake(self, cell: int | None = None) -> None:
        for call in self._wakes:
            call(cell)

    def _obey(self) -> None:
        self._wake()
        self._listener.nudge(Publication)

    def _expect_due(self, in_s: float) -> None:
        if in_s < 1.0:
            self._listener.nudge(Promoter, in_s=in_s)
