"""The transactions of transactional actors in one process: where their connections come from, and which are open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeAlias
from uuid import UUID

from .. import _forks
from .._running import CurrentTransaction, running_transaction
from ..maintenance.duty import Again, Duty
from ..storage.database import Connection, Database
from ..storage.statements import Statements
from .actor_transaction import ActorTransaction

#: Seconds for which a transaction may be open before a warning; by then autovacuum, which comes each minute, and the
#: emptying of slots begin to fall behind.
WARN_AFTER_S = 30.0

#: Seconds between two looks at the open ones.
INTERVAL_S = 1.0

#: More than any process has threads: each run holds one connection and waits for no other, so that none waits at all.
MAX_CONNECTIONS = 1_000

Surrounding: TypeAlias = Callable[[CurrentTransaction], AbstractContextManager[object]]


class ActorTransactions:
    """Of one broker. Safe to use from all threads.

    Their connections are apart from those of sends: a body that holds one and sends or asks for a result on another
    broker must not wait for a body that does the same.
    """

    def __init__(self, database: Database, *, warn_after_s: float = WARN_AFTER_S) -> None:
        self._warn_after_s = warn_after_s
        self._database = database.apart(application_name="pgqueue actor", max_connections=MAX_CONNECTIONS)
        self._surroundings: list[Surrounding] = []
        self._open: set[ActorTransaction] = set()
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Have none in a forked process."""
        inherited, self._open = self._open, set()
        for transaction in inherited:
            transaction.after_fork()

    def surround(self, surrounding: Surrounding) -> None:
        """Have every body of a transactional actor run inside of ``surrounding(current_transaction)``.

        For integrations whose own connection shall be the transaction's while the body runs. Entered by the worker's
        thread right before the body, left right after it, with its exception if it raised one, before anything is
        committed or rolled back; an exception on the way in or out is the body's.
        """
        self._surroundings.append(surrounding)

    @contextmanager
    def body(
        self,
        *,
        message_id: str,
        actor_name: str,
        owner: UUID | None = None,
        warn_after_s: float | None,
        prepare: Callable[[Connection], None] = lambda _: None,
        make: Callable[..., ActorTransaction] = ActorTransaction,
    ) -> Iterator[tuple[ActorTransaction, Callable[[], None]]]:
        """What surrounds the body of one run; gives its transaction and what is to be called at the body's end.

        Parameters:
          owner: In whose name the message was claimed: who gives that up ends what the body has left open.
          prepare: Called with the connection, in autocommit mode, right before the transaction begins.
          make: Makes the transaction; takes what `ActorTransaction` does.
        """
        transaction = make(
            self._database,
            message_id=message_id,
            actor_name=actor_name,
            owner=owner,
            warn_after_s=self._warn_after_s if warn_after_s is None else warn_after_s,
            prepare=prepare,
        )
        self._open.add(transaction)
        try:
            with transaction.body() as check, ExitStack() as stack:
                for surrounding in self._surroundings:
                    stack.enter_context(surrounding(transaction))

                def end() -> None:
                    stack.close()
                    check()

                yield transaction, end
        except BaseException:
            self._open.discard(transaction)
            raise

    def current(self) -> ActorTransaction | None:
        """The one of the body that runs in this context, if one of this broker's does."""
        found = running_transaction.get()
        if isinstance(found, ActorTransaction) and found in self._open and found.is_in_body:
            return found
        return None

    def ended(self, transaction: ActorTransaction) -> None:
        """Roll back what was not committed, and forget it."""
        transaction.rollback()
        self._open.discard(transaction)

    def open(self) -> list[ActorTransaction]:
        """Those of the messages that run now."""
        return [*self._open.copy()]

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._database.close()


class TransactionWatch(Duty):
    """Warns of transactions that stay open for too long, while they do."""

    def __init__(self, statements: Statements, transactions: ActorTransactions) -> None:
        super().__init__(statements)
        self._transactions = transactions

    def run_once(self, conn: Connection) -> Again:  # noqa: ARG002
        """Look at all of them."""
        for transaction in self._transactions.open():
            transaction.warn_if_long()
        return Again(INTERVAL_S)
