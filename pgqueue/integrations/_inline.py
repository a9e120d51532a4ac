"""Running what was sent where it was sent, in the sender's transaction if there is one: for tests of applications."""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from ..broker import Broker, MessageProxy
from ..brokers.postgres import PostgresBroker
from ..errors import PgQueueError, Retry, SkipMessage
from ..message import Message
from ..storage.calls import Procedure, perform
from ..storage.inline import list_waiting, take_next, take_scheduled
from ..storage.statements import Statements
from ..transactions import AsyncTarget, Target
from ..transactions.scope import ambient_target, block_target
from ._inline_transaction import in_transaction

if TYPE_CHECKING:
    from ..engine.actor_transaction import ActorTransaction

__all__ = ["Runner", "is_inline", "perform_here", "perform_on"]

T = TypeVar("T")

#: Whether the message that runs in this context runs where it was sent: its thread has a life besides.
is_inline: ContextVar[bool] = ContextVar("pgqueue_is_inline", default=False)


class Runner:
    """Looks at what was sent through a broker, and runs it with all hooks, in this thread.

    In a transaction that the sender's messages join, it sees them before the commit, and what the actors send joins it
    as well.
    """

    def __init__(self, broker: Broker) -> None:
        if not isinstance(broker, PostgresBroker):
            raise PgQueueError(
                f"Messages of a {type(broker).__name__} can't be run where they are sent: start a Worker, and wait "
                "with broker.join()."
            )
        self.broker = broker

    def waiting(self) -> list[Message[Any]]:
        """Return the messages of all queues, in the order in which they would run."""
        return [Message.decode(payload) for payload in perform_here(self.broker, list_waiting())]

    def run(self, *, delayed: bool = False) -> int:
        """Run messages until none is left, those that they send included; return how many.

        Parameters:
          delayed: Whether to run those that are not due yet, retries among them.

        Raises:
          Exception: What the first attempt that failed has raised, `Retry` excepted, after the hooks have heard of it:
            where the message has retries left, the next one waits then, as a delayed message. The rest was not run.
        """
        count = 0
        token = is_inline.set(True)
        try:
            while (message := self._take(delayed=delayed)) is not None:
                count += 1
                self._run_one(MessageProxy(message))
        finally:
            is_inline.reset(token)
        return count

    def _take(self, *, delayed: bool) -> Message[Any] | None:
        payload = perform_here(self.broker, take_next()) or perform_here(
            self.broker, take_scheduled(early=delayed)
        )
        return None if payload is None else Message.decode(payload)

    def _run_one(self, message: MessageProxy) -> None:
        """Do to a message what a worker does."""
        # Asked for before the hooks, which may give the message a context of its own.
        target = _target_here(self.broker)
        with ExitStack() as stack:
            failure: Exception | None = None
            try:
                self.broker.emit_before("process_message", message)
                result = None if message.failed else self._call_actor(message, target, stack)
            except SkipMessage as error:
                message.stuff_exception(error)
                self.broker.emit_after("skip_message", message)
            except Exception as error:  # noqa: BLE001  # whatever an actor raises is how it failed
                failure = error
                message.stuff_exception(error)
                self.broker.emit_after("process_message", message, exception=error)
            else:
                self.broker.emit_after("process_message", message, result=result)
            verdict = "nack" if message.failed else "ack"
            self.broker.emit_before(verdict, message)
            self.broker.emit_after(verdict, message)
        message.clear_exception()
        if failure is not None and not isinstance(failure, Retry):
            raise failure

    def _call_actor(self, message: MessageProxy, target: Target | None, stack: ExitStack) -> Any:
        actor = self.broker.get_actor(message.actor_name)
        if not actor.options.get("transactional"):
            return actor(*message.args, **message.kwargs)
        with in_transaction(self.broker, message, actor, target) as (transaction, finish):
            result = actor(*message.args, **message.kwargs)
            finish()
        stack.callback(self._end, transaction, message)
        return result

    def _end(self, transaction: ActorTransaction, message: MessageProxy) -> None:
        """Commit what a body has written, unless a hook has failed its message since."""
        try:
            if transaction.has_begun and not message.failed:
                transaction.commit(lambda _conn: None)
        finally:
            self.broker.actor_transactions.ended(transaction)


def perform_here(broker: PostgresBroker, procedure: Procedure[T]) -> T:
    """Run a procedure in the transaction that a message would join here, or else on a connection of ours."""
    target = _target_here(broker)
    statements = broker.database.statements
    if target is not None:
        return perform_on(target, statements, procedure)
    with broker.database.connection() as conn:
        return perform(conn, statements, procedure)


def _target_here(broker: PostgresBroker) -> Target | None:
    target = block_target() or ambient_target(broker)
    if isinstance(target, AsyncTarget):
        raise PgQueueError("An async transaction can't be looked into by calling: look after its commit.")
    return target


def perform_on(target: Target, statements: Statements, procedure: Procedure[T]) -> T:
    """Run the calls of a procedure in a target's transaction; return what it returns."""
    try:
        call = next(procedure)
        while True:
            call = procedure.send(target.run(statements, call))
    except StopIteration as stop:
        result: T = stop.value
        return result
