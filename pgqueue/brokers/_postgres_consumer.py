"""What a worker draws messages from and settles them with, on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from .. import _forks
from ..broker import MessageProxy
from ..broker.worker_consumer import Withheld, WorkerConsumer
from ..common import error_text
from ..engine.settlement import OpenSettlements, Settlement
from ..errors import ActorNotFound, DecodeError
from ..faults import Fault
from ..logging import own_logger
from ..message import Message
from ..storage.messages import ClaimedMessage, Verdict
from ..threading import Cancelled
from ._failures import failure_of, is_kept, kept_text, retries_of, traceback_of

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any
    from uuid import UUID

    from ..actor import Actor
    from ..engine.actor_transaction import ActorTransaction
    from ..engine.intake import Intake
    from ..engine.session import Session
    from ..storage.database import Connection

#: The longest time, in ms, that an outcome can hold: 24 days.
MOST_MS = 2**31 - 1

logger = own_logger(__name__)


#: In whose name the message is held that runs in this context; goes along into the coroutines of async actors.
running_owner: ContextVar[UUID | None] = ContextVar("pgqueue_running_owner", default=None)
_forks.in_child(lambda: running_owner.set(None))


class ClaimedProxy(MessageProxy):
    """A message that this process holds.

    Attributes:
      attempts: How many workers were lost while they held it.
      claimed: What the engine knows it as; None once it is settled or given back.
      transaction: That of its transactional actor.
      retries_before: How many attempts had failed when this one began.
    """

    def __init__(self, message: Message[Any], claimed: ClaimedMessage) -> None:
        super().__init__(message)
        self.attempts = claimed.attempts
        self.claimed: ClaimedMessage | None = claimed
        self.transaction: ActorTransaction | None = None
        self.claimed_at = self.started_at = time.monotonic()
        self.retries_before = retries_of(message)

    @property
    def redelivered(self) -> bool:
        """Whether a worker was lost while it held the message, as RabbitMQ's broker tells it."""
        return self.attempts > 0


class PostgresConsumer(WorkerConsumer):
    """A view of the process's session: messages of some queues.

    Parameters:
      timeout_s: How long iteration waits for a message before it answers None.
      on_close: Called once, after the intake has been closed.
    """

    def __init__(
        self,
        session: Session,
        intake: Intake,
        open_settlements: OpenSettlements,
        *,
        timeout_s: float,
        on_close: Callable[[], None],
    ) -> None:
        self._session = session
        self._intake = intake
        self._open = open_settlements
        self._timeout_s = timeout_s
        self._on_close: Callable[[], None] | None = on_close

    def __next__(self) -> MessageProxy | None:
        while (claimed := self._intake.next(self._timeout_s)) is not None:
            try:
                message = ClaimedProxy(Message.decode(claimed.payload), claimed)
            except DecodeError as error:
                self._bury_undecodable(claimed, error)
                continue
            if self._may_begin(message, claimed):
                return message
            self._put_aside(message, claimed)
        return None

    def _may_begin(self, message: MessageProxy, claimed: ClaimedMessage) -> bool:
        under_limit = claimed.lease.queue_name is not None
        return self._session.standing.may_begin(
            message.queue_name, message.actor_name, under_limit=under_limit
        )

    def _put_aside(self, message: MessageProxy, claimed: ClaimedMessage) -> None:
        paused = self._session.standing.orders
        self._intake.put_aside(claimed, park=message.actor_name in paused.actors)

    # -- the course of a message

    def order(self, message: MessageProxy, actor: Actor[..., Any]) -> tuple[int, str]:
        """Go by the priority that the message has in the database; its queues take turns, as they do in a claim."""
        options = message.options
        if type(priority := options.get("priority")) is int:
            return priority, message.queue_name
        if type(priority := options.get("broker_priority")) is int:
            return -priority, message.queue_name
        return actor.priority, message.queue_name

    def started(self, message: MessageProxy) -> None:
        """Note what this thread runs, for whoever finds the process dead.

        Raises:
          Withheld: The process was declared lost since it claimed the message, which runs elsewhere; or the message's
            queue or actor was paused.
        """
        if isinstance(message, ClaimedProxy) and message.claimed is not None:
            message.started_at = time.monotonic()
            if not self._session.leases.is_ours(message.claimed.lease.owner):
                self._withhold(message, message.claimed, "it was given to another worker")
            if not message.failed and not self._may_begin(message, message.claimed):
                self._withhold(message, message.claimed, self._reason(message))
            self._session.note(message.claimed.id, message.message_id)
            running_owner.set(message.claimed.lease.owner)
            self._session.running.begin(message.claimed.id, message, message.started_at)

    @property
    def recalls(self) -> int:
        """How often orders have changed what may begin."""
        return self._session.standing.changes

    def take_back(self, message: MessageProxy) -> bool:
        """Take a fetched message back whose queue or actor is paused now, or any if the process is quiet."""
        if not isinstance(message, ClaimedProxy) or (claimed := message.claimed) is None:
            return False
        if self._may_begin(message, claimed):
            return False
        message.claimed = None
        self._put_aside(message, claimed)
        logger.info("Message %s is not begun: %s.", message, self._reason(message))
        return True

    def _reason(self, message: MessageProxy) -> str:
        standing = self._session.standing
        if standing.orders.process is not None:
            return "this process is quiet"
        paused = not standing.may_begin(message.queue_name, message.actor_name)
        return "it is paused" if paused else "its queue has a limit now"

    def _withhold(self, message: ClaimedProxy, claimed: ClaimedMessage, reason: str) -> NoReturn:
        message.claimed = None
        self._put_aside(message, claimed)
        raise Withheld(reason)

    def finished(self, message: MessageProxy) -> None:
        """Note that this thread runs nothing."""
        self._session.note(0)
        self._session.running.end()
        running_owner.set(None)
        if isinstance(message, ClaimedProxy) and message.transaction is not None:
            self._session.transactions.ended(message.transaction)
            message.transaction = None

    def running(
        self, message: MessageProxy, actor: Actor[..., Any]
    ) -> AbstractContextManager[Callable[[], None] | None]:
        """Run a transactional actor inside the transaction that will acknowledge its message."""
        if actor.options.get("transactional") and isinstance(message, ClaimedProxy):
            return self._in_transaction(message, actor)
        return super().running(message, actor)

    @contextmanager
    def _in_transaction(self, message: ClaimedProxy, actor: Actor[..., Any]) -> Iterator[Callable[[], None]]:
        with self._session.transactions.body(
            message_id=message.message_id,
            actor_name=message.actor_name,
            owner=message.claimed.lease.owner if message.claimed is not None else None,
            warn_after_s=actor.options.get("transaction_warning_s"),
            prepare=partial(self._set_apart, message),
        ) as (message.transaction, finish):
            yield finish

    def _set_apart(self, message: ClaimedProxy, conn: Connection) -> None:
        # With nobody beside it, it keeps nobody waiting.
        if message.claimed is not None and len(self._session.transactions.open()) > 1:
            message.claimed = self._session.set_apart(conn, message.claimed)

    def settling(self, message: MessageProxy) -> AbstractContextManager[None]:
        """Collect what is sent and stored inside the block, and commit it with the ack or nack at its end."""
        if not isinstance(message, ClaimedProxy) or message.claimed is None:
            return super().settling(message)
        verdict = _verdict(message, message.claimed)
        settlement = Settlement(self._session, self._intake, verdict, transaction=message.transaction)
        return _Settling(self._open, message, settlement)

    def ack(self, message: MessageProxy) -> None:
        """Record that a message is done, or that a copy of it carries on."""
        self._decide(message, failed=False)

    def nack(self, message: MessageProxy) -> None:
        """Send a message to the dead letters."""
        self._decide(message, failed=True)

    def _decide(self, message: MessageProxy, *, failed: bool) -> None:
        if not isinstance(message, ClaimedProxy) or message.claimed is None:
            logger.warning("Message %s is not held by this consumer; nothing is acknowledged.", message)
            return
        settlement = self._open.current
        if settlement is not None and settlement.verdict.message is message.claimed:
            message.claimed = None
            _complete(settlement.verdict, message, failed=failed)
            settlement.decided = True
            return
        # Outside a worker: on return it is durable.
        with self.settling(message):
            self._decide(message, failed=failed)
        self.flush()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Make messages ready again at once, in their old places."""
        claimed = []
        for message in messages:
            if isinstance(message, ClaimedProxy) and message.claimed is not None:
                claimed.append(message.claimed)
                message.claimed = None
        if claimed:
            self._intake.give_back(claimed)

    # -- the consumer as a whole

    def subscribe(self, queue_name: str) -> None:
        """Draw from one more queue."""
        self._intake.subscribe(queue_name)

    def pause(self) -> None:
        """Claim no more."""
        self._intake.pause()

    def resume(self) -> None:
        """Claim again."""
        self._intake.resume()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every ack and nack is durable."""
        return self._session.flush(timeout)

    def close(self) -> None:
        """Give back what was not drawn; the last consumer to close ends the session."""
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        try:
            self._intake.close()
        finally:
            on_close()

    def _bury_undecodable(self, claimed: ClaimedMessage, error: DecodeError) -> None:
        logger.error(
            "A message can't be decoded and goes to the dead letters as it is: %s", error,
            fault=Fault.UNDECODABLE,
        )  # fmt: skip
        verdict = Verdict(
            claimed,
            "undecodable",
            "",
            status=None,
            reason="undecodable",
            error=kept_text(f"{error}: {error.error}"),
        )
        self._session.submit(verdict, self._intake.released(claimed))


class _Settling:
    """The block in which a message is settled; a class, for one is made for each message and generators are slower."""

    def __init__(
        self, open_settlements: OpenSettlements, message: ClaimedProxy, settlement: Settlement
    ) -> None:
        self._open = open_settlements
        self._message = message
        self._settlement = settlement

    def __enter__(self) -> None:
        self._open.current = self._settlement

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.current = None
        if self._settlement.decided and not self._settlement.broken:
            self._settlement.commit()
        else:
            self._message.claimed = None
            self._settlement.abandon()


def _verdict(message: ClaimedProxy, claimed: ClaimedMessage) -> Verdict:
    started = message.started_at
    return Verdict(
        claimed,
        message.message_id,
        message.actor_name,
        wait_ms=min(claimed.wait_ms + int((started - message.claimed_at) * 1000), MOST_MS),
        run_ms=min(int((time.monotonic() - started) * 1000), MOST_MS),
    )


def _complete(verdict: Verdict, message: ClaimedProxy, *, failed: bool) -> None:
    error = message._exception  # noqa: SLF001  # as Dramatiq calls it
    if any(new.message_id == verdict.message_id for new in verdict.follow_ups):
        verdict.status = None  # a retry: the message isn't at its end
    elif isinstance(error, Cancelled):
        verdict.status = "c"
        return
    elif failed:
        verdict.status = "f"
    if failed:
        verdict.reason = "unknown actor" if isinstance(error, ActorNotFound) else "failed"
        verdict.error = None if error is None else kept_text(f"{type(error).__name__}: {error_text(error)}")
        if message.too_old is not None:
            verdict.reason, verdict.error = "too old", message.too_old
        noted = message.options.get("traceback")
        verdict.traceback = None if noted is None else kept_text(str(noted))
    if error is not None and verdict.status != "d":
        _keep_attempt(verdict, message, error)


def _keep_attempt(verdict: Verdict, message: ClaimedProxy, error: BaseException) -> None:
    text = traceback_of(message, error, retries=message.retries_before)
    if verdict.reason is not None:
        verdict.traceback = text
    if verdict.reason is not None or is_kept(message.retries_before):
        verdict.failure = failure_of(error, text, retries=message.retries_before)
