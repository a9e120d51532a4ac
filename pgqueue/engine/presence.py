"""A process's names in the database: registered, locked, renewed, and retired."""

import os
import socket
import time
from collections.abc import Callable, Collection
from uuid import UUID, uuid4

from ..faults import Fault
from ..logging import own_logger
from ..maintenance.duty import Again, Duty
from ..maintenance.reaper import end_transactions
from ..storage import leases, messages, rate_limits, registers, worker_orders, workers
from ..storage.database import Connection
from ..storage.statements import Statements
from .board import Board
from .leases import Leases

#: Seconds between two heartbeats.
INTERVAL_S = 2.0

#: One that comes after so many seconds is late: others may have taken over what the process held.
LATE_S = 10.0

logger = own_logger(__name__)


class Presence(Duty):
    """Keeps the names of one process alive. Its connection is the one that holds their locks.

    Parameters:
      process: The number under which the process takes orders, whatever its names.
      ran: The ids of messages that have run and were not acknowledged, to be charged when the process leaves.
    """

    def __init__(
        self,
        statements: Statements,
        leases: Leases,
        *,
        threads: int,
        board: Board | None,
        process: UUID | None = None,
        ran: Callable[[], Collection[int]] = tuple,
    ) -> None:
        super().__init__(statements)
        self._process = process or uuid4()
        self._ran = ran
        self._leases = leases
        self._threads = threads
        self._board = board
        self._locked: set[UUID] = set()
        self._pids: set[int] = set()
        self._renewed_at = time.monotonic()

    def reconnected(self) -> None:
        """Take all locks again: they went with the connection."""
        self._locked.clear()

    def run_once(self, conn: Connection) -> Again:
        """Renew the names, take a new one if there is none, give back what old ones hold without our knowing."""
        self._lock(conn)
        self._tell_if_late()
        self._renew(conn)
        if self._leases.current() is None:
            self._take_name(conn)
        for owner in self._leases.old_names():
            self._retire(conn, owner)
        return Again(INTERVAL_S)

    def leave(self, conn: Connection) -> None:
        """Retire all names; what they still hold goes back, charged only where it has run without an ack written."""
        self._leases.renounce()
        for owner in self._leases.names():
            # Mostly nothing is, and to look is a tenth of the work of taking it back.
            if leases.find_leases(conn, self.statements, owner=owner):
                self._give_back(conn, owner, keep=[], ran=self._ran())
                end_transactions(conn, self.statements, owner=owner)
            with conn.transaction():
                rate_limits.free_places(conn, self.statements, owner=owner)
            self._remove(conn, owner)
        worker_orders.drop(conn, self.statements, process=self._process)

    def _lock(self, conn: Connection) -> None:
        if self._board is not None:
            self._board.add_session(conn.info.backend_pid)
        for owner in self._leases.names():
            if owner not in self._locked:
                # After a silence of the network the server may believe in our last connection for hours.
                workers.end_old_session(conn, self.statements, owner=owner, pids=self._pids)
                workers.lock(conn, self.statements, owner=owner)
                self._locked.add(owner)
        self._pids.add(conn.info.backend_pid)

    def _renew(self, conn: Connection) -> None:
        names = self._leases.names()
        if not names:
            return
        alive = workers.beat(conn, self.statements, owners=names)
        for owner in names:
            if owner not in alive:
                logger.error(
                    "This process was declared lost; what it held as %s runs elsewhere.", owner,
                    fault=Fault.DECLARED_LOST,
                )  # fmt: skip
                self._leases.forget(owner)

    def _tell_if_late(self) -> None:
        late_s = time.monotonic() - self._renewed_at
        self._renewed_at += late_s
        if late_s > LATE_S:
            logger.warning(
                "The heartbeat comes after %.1f s, not %g s: the process stopped or was cut off, or a C call kept the "
                "interpreter's lock.", late_s, INTERVAL_S, fault=Fault.HEARTBEAT_LATE,
            )  # fmt: skip

    def _take_name(self, conn: Connection) -> None:
        owner = uuid4()
        workers.register(
            conn,
            self.statements,
            owner=owner,
            host=socket.gethostname(),
            pid=os.getpid(),
            threads=self._threads,
            process=self._process,
        )
        self._locked.add(owner)
        if self._board is not None:
            self._board.add_owner(owner)
        self._leases.adopt(owner)

    def _retire(self, conn: Connection, owner: UUID) -> None:
        keep = self._leases.lids(owner)
        self._give_back(conn, owner, keep=keep)
        if not keep:
            self._remove(conn, owner)

    def _give_back(
        self, conn: Connection, owner: UUID, *, keep: list[int], ran: Collection[int] = ()
    ) -> None:
        given = messages.reclaim(
            conn,
            self.statements,
            owner=owner,
            threads=0,
            max_attempts=2**15 - 1,
            error="",
            lost="its worker ended before its ack could be written",
            charged=list(ran),
            keep=keep,
        )
        if given.returned:
            registers.wake(conn, self.statements)

    def _remove(self, conn: Connection, owner: UUID) -> None:
        workers.remove(conn, self.statements, owner=owner)
        self._leases.forget(owner)
        if owner in self._locked:
            workers.unlock(conn, self.statements, owner=owner)
            self._locked.discard(owner)
