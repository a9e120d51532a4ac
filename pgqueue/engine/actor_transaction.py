"""The transaction in which one run of a transactional actor writes, and which acknowledges its message.

It begins when the body first needs it, on a connection that is this run's alone, and ends in one of two ways: the
settlement commits it together with the ack and all that follows from it, or it is rolled back, and what became of the
message is recorded without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from psycopg import Cursor, Transaction
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from .. import _forks
from .._running import running_transaction
from ..errors import NoCurrentTransaction, TransactionEnded
from ..faults import Fault
from ..logging import own_logger
from ..storage import messages, transactions
from ..storage.messages import NewMessage
from ..storage.registers import channel, idle_register
from ..threading import is_gevent_active, uninterrupted, wake_when_interrupted

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ..storage.database import Connection, Database
    from ..storage.joined_session import JoinedSession

#: Seconds that the server has to cancel the statement of a run that is interrupted.
CANCEL_TIMEOUT_S = 5.0

#: Messages written in one statement.
BATCH = 5_000

logger = own_logger(__name__)


class ActorTransaction:
    """Of one run. What `CurrentTransaction` promises is for the body; the rest is for the worker's thread.

    Parameters:
      database: Where connections come from that nobody else waits for.
      owner: In whose name the message was claimed; None if it was not.
      warn_after_s: Seconds for which it may be open without a warning.
      prepare: Called with the connection right before the transaction begins.

    Attributes:
      queue_names: The queues that the body has sent messages to.
    """

    def __init__(
        self,
        database: Database,
        *,
        message_id: str,
        actor_name: str,
        owner: UUID | None,
        warn_after_s: float,
        prepare: Callable[[Connection], None],
    ) -> None:
        self.message_id = message_id
        self.actor_name = actor_name
        self.queue_names: set[str] = set()
        self._database = database
        self._owner = owner
        self._warn_after_s = warn_after_s
        self._prepare = prepare
        self._lock = threading.RLock()
        self._stack = ExitStack()
        self._conn: Connection | None = None
        self._block: Transaction | None = None
        self._session: JoinedSession | None = None
        self._on_commit: list[Callable[[], object]] = []
        self._began_at = 0.0
        self._in_body = False
        self._warned = False

    def after_fork(self) -> None:
        """Be over in a forked process, and leave the connection to the one that it belongs to."""
        conn = self._conn
        _forks.keep((conn, self._block, self._session, self._stack))
        self._lock, self._stack, self._in_body = threading.RLock(), ExitStack(), False
        self._conn = self._block = self._session = None
        if conn is not None:
            transactions.cut_off(conn)

    # ── for the body ──────────────────────────────────────────────────────────────────────────────

    @property
    def connection(self) -> Connection:
        """The psycopg connection inside the transaction, which begins with the first question for it.

        Raises:
          NoCurrentTransaction: The body has ended.
          DatabaseUnavailable: The database can't be reached.
        """
        with uninterrupted(), self._lock:
            if not self._in_body:
                raise NoCurrentTransaction(
                    f"The transaction of message {self.message_id} ({self.actor_name}) is over: its body has ended. "
                    "A task or thread that outlives the body needs a connection of its own, and so does a process that "
                    "the body forks."
                )
            if self._conn is None:
                self._begin()
            assert self._conn is not None  # noqa: S101  # it has just begun
            return self._conn

    def session(self, **options: Any) -> Session:
        """The SQLAlchemy session on that connection, made by the first call with these options.

        Raises:
          NoCurrentTransaction: The body has ended.
          DatabaseUnavailable: The database can't be reached.
        """
        conn = self.connection
        if self._session is None:
            from ..storage.joined_session import open_session  # noqa: PLC0415  # most programs do without SQLAlchemy

            self._session = open_session(conn, **options)
        return self._session

    def on_commit(self, call: Callable[[], object]) -> None:
        """Have something called by the worker's thread after the commit; what it raises is logged.

        Raises:
          NoCurrentTransaction: The body has ended.
        """
        _ = self.connection  # without a transaction there is no commit
        self._on_commit.append(call)

    def _begin(self) -> None:
        with ExitStack() as stack:
            conn = stack.enter_context(self._connect())
            # Whatever an earlier body has made of it.
            conn.row_factory, conn.cursor_factory = tuple_row, Cursor
            self._prepare(conn)
            self._block = transactions.begin(
                conn, self._database.statements, message_id=self.message_id, owner=self._owner
            )
            self._stack = stack.pop_all()
        self._conn, self._began_at = conn, time.monotonic()

    def _connect(self) -> AbstractContextManager[Connection]:
        return self._database.connection()

    # ── for the broker ────────────────────────────────────────────────────────────────────────────

    @property
    def is_in_body(self) -> bool:
        """Whether the body has not ended yet."""
        return self._in_body

    def send(self, new: Sequence[NewMessage], *, announce: str | None) -> bool:
        """Write messages in the transaction: seen and run if it commits, undone by a savepoint of the body's, too.

        Returns:
          Whether its server has their lanes; else nothing is written.
        """
        conn, schema = self.connection, self._database.schema
        names = {message.queue_name for message in new}
        self.queue_names |= names
        return all(
            messages.enqueue(
                conn,
                self._database.statements,
                messages=new[start : start + BATCH],
                channel=channel(schema),
                registers=sorted(idle_register(name, schema=schema) for name in names),
                announce=announce,
            )
            for start in range(0, len(new), BATCH)
        )

    # ── for the worker's thread ───────────────────────────────────────────────────────────────────

    @contextmanager
    def body(self) -> Iterator[Callable[[], None]]:
        """What surrounds the body; gives what is to be called at its end, as a part of it."""
        token = running_transaction.set(self)
        self._in_body = True
        try:
            with wake_when_interrupted(self._cancel_soon):
                yield self._check
        except BaseException as error:
            # A coroutine that has not ended in time, see `asyncio`, may use its connection still.
            self.rollback(discard=isinstance(error, RuntimeError) or not isinstance(error, Exception))
            raise
        finally:
            with self._lock:
                self._in_body = False
            running_transaction.reset(token)

    def _check(self) -> None:
        """Write what the session has left, and see whether the transaction can be committed."""
        if self._conn is None:
            return
        if self._session is not None:
            self._session.flush()
            self._session.end()
        status = self._conn.info.transaction_status
        if status != TransactionStatus.INTRANS:
            raise TransactionEnded(self._fault(_FAULTS.get(status, "closed its connection")))
        self._look(self._conn)

    def _look(self, conn: Connection) -> None:
        look = transactions.check(conn, self._database.statements)
        if look.message_id != self.message_id:
            raise TransactionEnded(self._fault(_FAULTS[TransactionStatus.IDLE]))
        if look.read_only:
            raise TransactionEnded(self._fault("has made its transaction read only"))

    def _fault(self, fault: str) -> str:
        return (
            f"The body of actor {self.actor_name!r} {fault}. Its transaction belongs to message {self.message_id} and "
            "commits with the acknowledgement: leave its end to the worker, make savepoints with "
            "`with connection.transaction():`, or use a connection of your own for what must not wait."
        )

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to commit or to roll back."""
        return self._conn is not None

    def begun_connection(self) -> Connection:
        """The connection, for those who settle."""
        assert self._conn is not None  # noqa: S101  # they have asked has_begun
        return self._conn

    def commit(self, write: Callable[[Connection], None]) -> None:
        """Commit what the body wrote with what ``write`` does; any failure rolls both back."""
        conn = self.begun_connection()
        try:
            write(conn)
            self._warn_if_long(over=True)
            assert self._block is not None  # noqa: S101  # it has begun
            # A block on a connection that is known to be lost ends in silence.
            if conn.info.transaction_status != TransactionStatus.INTRANS:
                raise TransactionEnded(self._fault(_FAULTS[TransactionStatus.UNKNOWN]))
            self._block.__exit__(None, None, None)
        except BaseException:
            self.rollback(discard=conn.info.transaction_status != TransactionStatus.INTRANS)
            raise
        self._release()
        self._call_after_commit()

    def _call_after_commit(self) -> None:
        depth = _forks.depth
        for call in self._on_commit:
            try:
                call()
                _forks.leave_if_forked(depth)
            except BaseException as error:
                _forks.leave_if_forked(depth, error)
                if not isinstance(error, Exception):
                    raise
                logger.exception(
                    "What was to be called after message %s had committed failed.", self.message_id,
                    fault=Fault.HOOK_FAILED,
                )  # fmt: skip

    def rollback(self, *, discard: bool = False) -> None:
        """Undo what the body wrote, if it is not committed; raises nothing.

        Parameters:
          discard: Close the connection rather than use it again.
        """
        with self._lock:
            if self._conn is None:
                return
            self._warn_if_long(over=True)
            try:
                self._roll_back(self._conn, discard=discard)
            finally:
                self._release()

    def _roll_back(self, conn: Connection, *, discard: bool) -> None:
        if self._session is not None:
            with suppress(Exception):
                self._session.end()
        status = conn.info.transaction_status
        if status == TransactionStatus.ACTIVE:
            with suppress(Exception):
                conn.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        if discard or status not in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            conn.close()
            return
        assert self._block is not None  # noqa: S101  # it has begun
        error = RuntimeError("the run does not count")
        try:
            self._block.__exit__(type(error), error, None)
        except Exception as failure:  # noqa: BLE001  # closed, it is rolled back as well
            logger.debug(
                "The transaction of message %s could not be rolled back: %s", self.message_id, failure
            )
            conn.close()

    def _release(self) -> None:
        conn, self._conn, self._block, self._session = self._conn, None, None, None
        if conn is not None and not conn.closed:
            self._restore(conn)
        self._stack.close()

    def _restore(self, conn: Connection) -> None:
        """Let nothing of this run's session reach the next message: its search path may be another tenant's."""
        if self._database.is_behind_pooler:
            return  # the session is the pooler's
        try:
            transactions.restore(conn, self._database.statements, settings=self._database.server_side)
        except Exception as error:  # noqa: BLE001  # closed, it is nobody's
            logger.debug("The session of message %s could not be restored: %s", self.message_id, error)
            conn.close()

    # ── interrupts and warnings ───────────────────────────────────────────────────────────────────

    def _cancel_soon(self) -> None:
        """Have the server cancel what the body waits for: psycopg waits in C code, where no interrupt arrives."""
        if self._conn is None or is_gevent_active():
            return
        try:
            threading.Thread(target=self._cancel, name="pgqueue-cancel", daemon=True).start()
        except RuntimeError as error:  # no room for a thread
            logger.warning(
                "Message %s (actor %r) is interrupted once its statement ends, which could not be cancelled: %s",
                self.message_id, self.actor_name, error,
            )  # fmt: skip

    def _cancel(self) -> None:
        # Under the lock the body does not end meanwhile: the acknowledgement must not be what is cancelled.
        with self._lock:
            conn = self._conn
            if (
                self._in_body
                and conn is not None
                and conn.info.transaction_status == TransactionStatus.ACTIVE
            ):
                with suppress(Exception):
                    conn.cancel_safe(timeout=CANCEL_TIMEOUT_S)

    def warn_if_long(self) -> None:
        """Warn, once, if the transaction has been open for longer than it should; called by any thread."""
        self._warn_if_long(over=False)

    def _warn_if_long(self, *, over: bool) -> None:
        if self._conn is None or self._warned:
            return
        held_s = time.monotonic() - self._began_at
        if held_s > self._warn_after_s:
            self._warned = True
            logger.warning(
                "Message %s (actor %r) %s its transaction open for %.1f s, more than %g s: the database can't clean up "
                "behind it, and its locks last as long. Let the actor do what takes long before it asks for the "
                "transaction, or in an actor that is not transactional.",
                self.message_id, self.actor_name, "has held" if over else "holds", held_s, self._warn_after_s,
                fault=Fault.LONG_TRANSACTION,
            )  # fmt: skip


_FAULTS = {
    TransactionStatus.IDLE: "has committed or rolled back its transaction by itself",
    TransactionStatus.INERROR: "has gone on after a failed statement, which makes PostgreSQL refuse the rest of the "
    "transaction",
    TransactionStatus.ACTIVE: "has left a statement running on its connection",
    TransactionStatus.UNKNOWN: "has closed its connection, or lost it",
}
