"""The broker that keeps messages in PostgreSQL."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar

from .. import _forks
from ..broker import Consumer
from ..common import dq_name, getenv_int
from ..engine.actor_transactions import WARN_AFTER_S, ActorTransactions
from ..engine.async_mailbox import AsyncMailbox
from ..engine.board import Board
from ..engine.catalog import Catalog
from ..engine.intake import Intake
from ..engine.mailbox import Mailbox
from ..engine.running import Running
from ..engine.session import Session
from ..engine.settlement import OpenSettlements
from ..errors import QueueJoinTimeout, TargetMismatch
from ..message import MessageStatus
from ..storage import queues
from ..storage.async_database import AsyncDatabase
from ..storage.database import Connection, Database
from ..storage.deadlocks import again_after_deadlock
from ..storage.messages import NewMessage
from ..storage.revision import check_schema
from ..transactions import AsyncTarget, Target
from ..transactions.scope import ambient_target, block_target, is_outside
from ._asking import checked_id, checked_queue, patiently
from ._control import QueueControl
from ._outgoing import Encoded, as_sent, check_delay
from ._postgres_consumer import PostgresConsumer
from ._sending import Sender
from ._settling import SettlingBroker
from ._target import keeps_sessions, resolve, resolve_worker

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

    from ..broker import MessageProxy
    from ..engine.actor_transaction import ActorTransaction
    from ..message import Message
    from ..middleware import Middleware
    from ..transactions.target import AnyTarget

    AnyMessage: TypeAlias = Message[Any] | MessageProxy

__all__ = ["PostgresBroker"]

T = TypeVar("T")


class PostgresBroker(QueueControl, SettlingBroker):
    """Keeps messages, results and rate limits in one PostgreSQL database.

    Nothing is connected before the first message is sent or consumed. Safe to use from all threads; a child that was
    forked opens connections of its own.

    Parameters:
      url: A libpq URL, or ``embedded:`` or ``embedded:/dir`` for the bundled server, or a function that is asked for
        a libpq URL when it is first needed. None: the environment's ``PGQUEUE_URL``, then ``DATABASE_URL``.
      worker_url: Where the own connections of workers go, if ``url`` leads to a pooler in transaction mode: they need
        sessions. As ``url``; None: the environment's ``PGQUEUE_WORKER_URL``, or ``url``.
      pool: A psycopg pool to use in the place of an own one. Workers open three connections besides.
      pooler: How a pooler on the way works: one in mode ``session`` leaves workers their sessions, so that they need no
        ``worker_url``. None: the environment's ``PGQUEUE_POOLER``, or the worst, for the mode can't be seen.
      schema: The schema that holds the tables; several in one database are independent. None: the environment's
        ``PGQUEUE_SCHEMA``, then ``pgqueue``.
      middleware: None for one of each default middleware.
      max_connections: The most connections of the own pool.
      prepare_threshold: As psycopg's. Behind a pooler, which may not be able to, nothing is prepared.
      dead_message_ttl: Milliseconds for which dead letters are kept. None: the environment's
        ``pgqueue_dead_message_ttl``, or seven days.
      max_message_size: The most bytes of an encoded message; None for what PostgreSQL can hold, a gigabyte.
      transaction_warning_s: Seconds for which a transactional actor may hold its transaction without a warning.

    Attributes:
      actor_transactions: The transactions of transactional actors; integrations that shall take part in them
        call its ``surround``.

    Raises:
      BrokerNotConfigured: There is neither a URL nor a pool.
      BadSetting: ``schema`` can't be one; it is a ValueError, too.
    """

    queues: set[str]

    own_actor_options: ClassVar[frozenset[str]] = frozenset(
        {"cancellable", "redact", "transactional", "transaction_warning_s"}
    )

    def __init__(
        self,
        url: str | Callable[[], str] | None = None,
        *,
        worker_url: str | Callable[[], str] | None = None,
        pool: ConnectionPool[Any] | None = None,
        schema: str | None = None,
        middleware: Iterable[Middleware] | None = None,
        pooler: Literal["transaction", "session"] | None = None,
        max_connections: int = 20,
        prepare_threshold: int | None = 5,
        dead_message_ttl: int | None = None,
        max_message_size: int | None = None,
        transaction_warning_s: float = WARN_AFTER_S,
    ) -> None:
        super().__init__(middleware)
        self.queues = set()
        self.max_message_size = max_message_size
        self.database = Database(
            None if pool is not None and url is None else resolve(url),
            pool=pool,
            schema=schema or os.environ.get("PGQUEUE_SCHEMA") or "pgqueue",
            max_connections=max_connections,
            prepare_threshold=prepare_threshold,
            direct_url=resolve_worker(worker_url),
            keeps_sessions=keeps_sessions(pooler),
        )
        self.mailbox = Mailbox(self.database)
        self.actor_transactions = ActorTransactions(self.database, warn_after_s=transaction_warning_s)
        self._async_database = AsyncDatabase(self.database, max_connections=max_connections)
        self.async_mailbox = AsyncMailbox(self.mailbox, self._async_database, self.database.statements)
        self._catalog = Catalog(self.database, self._async_database)
        self._sender = Sender(self.database, self._async_database, self._catalog)
        self._settlements = OpenSettlements()
        ttl = getenv_int("pgqueue_dead_message_ttl") if dead_message_ttl is None else dead_message_ttl
        self._dead_letter_ttl_s = None if ttl is None else ttl / 1000
        self._session: Session | None = None
        self._consumers = 0
        self._lock = threading.RLock()
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Hold no messages in a forked process."""
        _forks.keep(self._session)
        self._lock, self._session, self._consumers = threading.RLock(), None, 0

    def check(self) -> None:
        """See whether the database can be used by this release.

        Raises:
          DatabaseUnavailable: It can't be reached, or refuses us.
          SchemaOutdated: ``pgqueue migrate`` has to be run first.
          ReleaseOutdated: A later release has migrated it to what this one can't work with.
        """
        with self.database.connection() as conn:
            check_schema(conn, self.database.statements)

    # ── queues ────────────────────────────────────────────────────────────────────────────────────

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue known to this process; the database hears of it with its first message."""
        if queue_name in self.queues:
            return
        checked_queue(queue_name, "declare_queue")
        self.emit_before("declare_queue", queue_name)
        self.queues.add(queue_name)
        self.emit_after("declare_queue", queue_name)
        self.delay_queues.add(delay_name := dq_name(queue_name))
        self.emit_after("declare_delay_queue", delay_name)

    def get_queue_message_counts(self, queue_name: str) -> tuple[int, int, int]:
        """Count a queue's messages: ready or in progress, delayed, dead."""
        name = checked_queue(queue_name, "get_queue_message_counts")
        counts = self._ask(lambda conn: queues.counts(conn, self.database.statements, queue_name=name))
        return counts.ready + counts.leased, counts.scheduled, counts.dead

    @again_after_deadlock
    def flush(self, queue_name: str) -> None:
        """Drop a queue's messages, delayed ones and dead letters included; those in progress go on."""
        name = checked_queue(queue_name, "flush")
        self._ask(lambda conn: queues.flush(conn, self.database.statements, queue_name=name))

    def join(
        self,
        queue_name: str,
        min_successes: int = 1,  # noqa: ARG002  # see below
        idle_time: int = 0,  # noqa: ARG002
        *,
        timeout: int | None = None,
        interval: int = 100,
    ) -> None:
        """Wait until a queue has no message: none ready, none delayed, none in progress, in one snapshot.

        Parameters:
          min_successes: As RabbitMQ's broker has; without effect, for one snapshot sees everything.
          idle_time: Likewise.
          timeout: Milliseconds; None waits for ever.
          interval: Milliseconds between two looks, at most.

        Raises:
          QueueJoinTimeout: It took longer.
          ConnectionClosed: The database could not be reached, several times.
        """
        name = checked_queue(queue_name, "join")
        deadline = None if timeout is None else time.monotonic() + timeout / 1000
        pause_s = 0.005
        while self._ask(lambda conn: queues.busy(conn, self.database.statements, queue_name=name)):
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise QueueJoinTimeout(f"Queue {queue_name!r} still has messages after {timeout} ms.")
            time.sleep(pause_s if left_s is None else min(pause_s, left_s))
            pause_s = min(pause_s * 2, interval / 1000)

    def _ask(self, look: Callable[[Connection], T]) -> T:
        """What may be asked twice: over connections that are lost meanwhile."""

        def ask() -> T:
            with self.database.connection() as conn:
                return look(conn)

        return patiently(ask, what="Not answered")

    def get_message_status(self, message_id: str) -> MessageStatus:
        """Tell where a message is, by its id."""
        id_ = checked_id(message_id, "get_message_status")
        status = self._ask(lambda conn: queues.status(conn, self.database.statements, message_id=id_))
        return MessageStatus(status)

    # ── sending ───────────────────────────────────────────────────────────────────────────────────

    def enqueue(self, message: AnyMessage, *, delay: int | None = None) -> Message[Any]:
        """Send a message; once this returns, it survives any crash.

        Inside of :class:`pgqueue.transaction` it is sent with that transaction, in the after-hooks of a message that a
        worker settles with that message's ack.

        Raises:
          ConnectionClosed: The database could not be reached, several times.
          TransactionError: The transaction can't take it.
        """
        return self.enqueue_many([message], delay=delay)[0]

    def enqueue_many(self, messages: Iterable[AnyMessage], *, delay: int | None = None) -> list[Message[Any]]:
        """Send messages, all or none of them, in one round trip; errors as for :meth:`enqueue`."""
        check_delay(delay)
        target = self._admitted_target()
        sent, encoded = self._encoded(messages, delay)
        self._send(encoded, delay, target)
        for message in sent:
            self.emit_after("enqueue", message, delay)
        return sent

    async def enqueue_many_async(
        self, messages: Iterable[AnyMessage], *, delay: int | None = None
    ) -> list[Message[Any]]:
        """The same for a coroutine, which waits without holding up its event loop. Hooks are called on the loop."""
        check_delay(delay)
        target = await self._admitted_async_target()
        sent, encoded = self._encoded(messages, delay)
        if target is not None and encoded:
            await self._sender.send_through_async(target, encoded, delay)
        elif encoded and (transaction := self._actor_transaction()) is not None:
            await self._sender.send_with_body_async(transaction, encoded, delay)
        elif encoded:
            await self._sender.send_async(encoded, delay)
        for message in sent:
            self.emit_after("enqueue", message, delay)
        return sent

    def _encoded(
        self, messages: Iterable[AnyMessage], delay: int | None
    ) -> tuple[list[Message[Any]], list[Encoded]]:
        sent = [as_sent(message, delay) for message in messages]
        for message in sent:
            self.emit_before("enqueue", message, delay)
        return sent, [self._encode(message) for message in sent]

    def _send(self, encoded: Sequence[Encoded], delay: int | None, target: Target | None) -> None:
        if not encoded:
            return
        settlement = self._settlements.current
        if target is not None:
            self._sender.send_through(target, encoded, delay)
        elif settlement is not None and not is_outside():
            for new in settlement.insist(lambda: self._rows(encoded, delay)):
                settlement.add_message(new)
        elif (transaction := self._actor_transaction()) is not None:
            self._sender.send_with_body(transaction, encoded, delay)
        else:
            self._sender.send(encoded, delay)

    def _admitted_target(self) -> Target | None:
        """The target of a send here and now, if there is a transaction that it belongs to."""
        target = self._target()
        if isinstance(target, AsyncTarget):
            raise TargetMismatch.sent_sync(target.connection)
        if target is not None:
            self._sender.joiner.admit(target)
        return target

    async def _admitted_async_target(self) -> AsyncTarget | None:
        target = self._target()
        if isinstance(target, Target):
            raise TargetMismatch.sent_async(target.connection)
        if target is not None:
            await self._sender.joiner.admit_async(target)
        return target

    def _target(self) -> AnyTarget | None:
        return ambient_target(self) if self._may_join_ambient() else block_target()

    def _may_join_ambient(self) -> bool:
        """Whether no transaction goes before the one that a framework has here."""
        if block_target() is not None or is_outside() or self._settlements.current is not None:
            return False
        return self._actor_transaction() is None

    def _actor_transaction(self) -> ActorTransaction | None:
        return None if is_outside() else self.actor_transactions.current()

    def _rows(self, encoded: Sequence[Encoded], delay: int | None) -> list[NewMessage]:
        return self._sender.rows(encoded, delay)

    # ── consuming ─────────────────────────────────────────────────────────────────────────────────

    @property
    def consumer_class(self) -> type[PostgresConsumer]:
        """The class of this broker's consumers; a subclass may have another."""
        return PostgresConsumer

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Return a consumer of one queue. Delayed messages come through it when they are due."""
        names = [checked_queue(queue_name, "consume")]
        return self._consumer(names, prefetch=prefetch, threads=1, timeout=timeout)

    def consume_many(
        self, queue_names: Collection[str], *, prefetch: int | None, threads: int, timeout: int
    ) -> Consumer:
        """Return one consumer for many queues."""
        names = {checked_queue(name, "consume_many") for name in queue_names}
        return self._consumer(names, prefetch=prefetch, threads=threads, timeout=timeout)

    def _consumer(
        self, queue_names: Collection[str], *, prefetch: int | None, threads: int, timeout: int
    ) -> PostgresConsumer:
        session = self._join_session(threads)
        intake = Intake(session, queue_names, prefetch=prefetch, threads=threads)
        return self.consumer_class(
            session, intake, self._settlements, timeout_s=timeout / 1000, on_close=self._leave_session
        )

    def _join_session(self, threads: int) -> Session:
        with self._lock:
            self._session = self._session or self._open_session(threads)
            self._consumers += 1
            return self._session

    def _open_session(self, threads: int) -> Session:
        if self.database.direct_url != self.database.url:
            self.check()  # the session looks at its own
        session = Session(
            self.database,
            threads=threads,
            board=Board.assigned(),
            dead_letter_ttl_s=self._dead_letter_ttl_s,
            running=Running(self._may_be_cancelled),
            actors=self.get_declared_actors,
            transactions=self.actor_transactions,
            on_stop=self._stop_as_ordered,
        )
        session.open()
        return session

    def _may_be_cancelled(self, message: AnyMessage) -> bool:
        """Whether a running message may be interrupted: its own option, or its actor's."""
        own = message.options.get("cancellable")
        actor = self.actors.get(message.actor_name)
        return bool((actor and actor.options.get("cancellable")) if own is None else own)

    def limit_run(self, until: float) -> None:
        """Note by when the message must have ended that this thread runs, for the supervisor."""
        if (session := self._session) is not None:
            session.limit(until)

    def _leave_session(self) -> None:
        with self._lock:
            self._consumers -= 1
            if self._consumers > 0:
                return
            session, self._session = self._session, None
        if session is not None:
            session.close()

    def close(self) -> None:
        """Close the connections of senders and of those who wait; consumers close their own. Later uses open others."""
        self._sender.forget()
        self._async_database.close()
        self.mailbox.close()
        self.actor_transactions.close()
        self.database.close()

    async def close_async(self) -> None:
        """The same for a coroutine; the connections of its loop are closed when this returns."""
        await self._async_database.close_async()
        self.close()
