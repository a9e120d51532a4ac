"""Transactional actors that run where their message was sent: their transaction is a savepoint of the sender's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from ..engine.actor_transaction import ActorTransaction
from ..errors import NotATarget
from ..storage import transactions
from ..storage.lent_connection import lend

if TYPE_CHECKING:
    from ..actor import Actor
    from ..broker import MessageProxy
    from ..brokers.postgres import PostgresBroker
    from ..storage.database import Connection
    from ..transactions import Target

__all__ = ["InlineTransaction", "in_transaction"]


class InlineTransaction(ActorTransaction):
    """Inside of a transaction of somebody else's, which goes on whatever becomes of the run.

    Parameters:
      target: The sender's transaction.
    """

    def __init__(self, target: Target, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._target = target

    def _connect(self) -> AbstractContextManager[Connection]:
        found: Any = self._target.identity()
        lent = lend(getattr(found, "connection", found))  # Django wraps the driver's
        if lent is None:
            raise NotATarget(
                self._target.connection,
                hint=f"Actor {self.actor_name!r} is transactional, and such ones run on psycopg 3 only.",
            )
        return nullcontext(lent)

    def _look(self, conn: Connection) -> None:
        # The settings of an acknowledgement are not for what the sender does afterwards.
        # Nor is the haste of its constraints, which ends with the rollback of a savepoint.
        with conn.transaction(force_rollback=True):
            transactions.check_constraints(conn, self._database.statements)

    def _roll_back(self, conn: Connection, *, discard: bool) -> None:  # noqa: ARG002  # it is the sender's
        super()._roll_back(conn, discard=False)

    def _restore(self, conn: Connection) -> None:
        """Leave the session as it is: it goes on being the sender's."""


@contextmanager
def in_transaction(
    broker: PostgresBroker, message: MessageProxy, actor: Actor[..., Any], target: Target | None
) -> Iterator[tuple[ActorTransaction, Callable[[], None]]]:
    """What surrounds the body of a transactional actor; gives its transaction and what is to be called at its end.

    Parameters:
      target: Whose savepoint it is; None for a transaction of its own.
    """
    with broker.actor_transactions.body(
        message_id=message.message_id,
        actor_name=message.actor_name,
        warn_after_s=actor.options.get("transaction_warning_s"),
        make=ActorTransaction if target is None else partial(InlineTransaction, target),
    ) as begun:
        yield begun
