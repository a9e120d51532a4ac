"""The transaction of the transactional actor that runs in this context, if one does."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from . import _forks
from .errors import NoCurrentTransaction

if TYPE_CHECKING:
    from psycopg import Connection
    from sqlalchemy.orm import Session

__all__ = ["CurrentTransaction", "current_transaction", "running_transaction"]


class CurrentTransaction(Protocol):
    """The transaction in which a transactional actor runs, and which will acknowledge its message.

    It begins when the body first asks for it, or sends a message: until then the database is not troubled. To be used
    from the body only; what it wrote is undone when the body raises.
    """

    @property
    def message_id(self) -> str:
        """The message that runs in it."""

    @property
    def connection(self) -> Connection[Any]:
        """The psycopg connection inside the transaction; also for ``async def`` actors a synchronous one.

        Its ``commit()`` and ``rollback()`` are refused; ``with connection.transaction():`` makes a savepoint.

        Raises:
          NoCurrentTransaction: The body has ended.
          DatabaseUnavailable: The database can't be reached.
        """

    def session(self, **options: Any) -> Session:
        """The SQLAlchemy session on that connection: the same one at each call. Its changes are flushed after the body.

        Its ``commit()`` and ``rollback()`` are refused; ``with session.begin_nested():`` makes a savepoint.

        Parameters:
          options: Of ``sqlalchemy.orm.Session``, for the call that makes it.

        Raises:
          NoCurrentTransaction: The body has ended.
          DatabaseUnavailable: The database can't be reached.
        """

    def on_commit(self, call: Callable[[], object]) -> None:
        """Have something called on the worker's thread once the transaction has committed, and never if it does not.

        If the process dies in between, it is not called. What it raises is logged.

        Raises:
          NoCurrentTransaction: The body has ended.
        """


#: Goes along into the coroutines of async actors, and into threads that are given the context.
running_transaction: ContextVar[CurrentTransaction | None] = ContextVar(
    "pgqueue_running_transaction", default=None
)
_forks.in_child(lambda: running_transaction.set(None))


def current_transaction() -> CurrentTransaction:
    """Return the transaction of the transactional actor whose body calls this.

    Raises:
      NoCurrentTransaction: No such body calls.
    """
    found = running_transaction.get()
    if found is None:
        raise NoCurrentTransaction(
            "current_transaction() was called outside of a transactional actor. It works in the body of an actor that "
            "is declared with @pgqueue.actor(transactional=True), while a worker runs a message of it; and not when "
            "the actor is called as a function, nor in a process that the body has forked."
        )
    return found
