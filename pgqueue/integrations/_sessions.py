"""Which of an application's sessions is in a transaction where a message is sent."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet, ref

from sqlalchemy import event, exc
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_session, async_sessionmaker
from sqlalchemy.orm import Session, SessionTransaction, scoped_session, sessionmaker

from .. import _forks
from ..broker import Broker
from ..transactions import register_ambient

__all__ = ["AnyMaker", "Sessions", "bind", "is_open"]

AnyMaker = (
    sessionmaker[Any]
    | scoped_session[Any]
    | async_sessionmaker[Any]
    | async_scoped_session[Any]
    | type[Session]
)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A session that has begun a transaction, and the task or thread that it did so in."""

    session: ref[Session]
    by: object


#: The sessions that have begun a transaction in this context, oldest first; those that have ended it may be among them.
_begun: ContextVar[tuple[_Begun, ...]] = ContextVar("pgqueue_sessions", default=())
_forks.in_child(lambda: _begun.set(()))


class Sessions:
    """Answers, as an ambient provider, the session whose transaction a message is to join.

    Parameters:
      broker: The only broker whose messages join; None for any.
    """

    def __init__(self, broker: Broker | None) -> None:
        self.broker = broker
        self._ours: WeakSet[Session] = WeakSet()

    def listen(self, target: Any) -> None:
        """Hear of the transactions of a class of sessions, or of those that a sessionmaker makes."""
        event.listen(target, "after_transaction_create", self._create)

    def __call__(self, broker: Broker) -> Session | AsyncSession | None:
        """Return the session that has begun last, and is still in its transaction."""
        if self.broker is not None and broker is not self.broker:
            return None
        by = _present()
        for begun in reversed(_begun.get()):
            session = begun.session()
            if begun.by == by and session is not None and session in self._ours and is_open(session):
                return async_session(session) or session
        return None

    def _create(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.parent is not None:
            return
        self._ours.add(session)
        others = (
            begun
            for begun in _begun.get()
            if (other := begun.session()) is not None and other is not session and other.in_transaction()
        )
        _begun.set((*others, _Begun(ref(session), _present())))


def is_open(session: Session) -> bool:
    """Whether a session is in a transaction; after the commit, in events of it, SQLAlchemy says so still."""
    if not session.in_transaction():
        return False
    if session.is_active or session.in_nested_transaction():
        return True
    try:
        session.connection()
    except (exc.PendingRollbackError, exc.ResourceClosedError):
        return True  # it has failed, and whoever sends is to hear of it
    except exc.InvalidRequestError as error:
        return "'committed' state" not in str(error)
    return True


def bind(maker: AnyMaker, *, broker: Broker | None = None) -> Sessions:
    """Have every message that is sent while a session of ``maker`` is in a transaction sent by its commit.

    It is the session's transaction that counts, in the thread or asyncio task that has begun it: SQLAlchemy begins one
    with the first statement, ``add`` or ``begin``. A task that was started meanwhile does not join it. What is sent
    when no transaction has begun is sent at once. In a coroutine with an AsyncSession, send with ``send_async``.

    Parameters:
      maker: A ``sessionmaker``, ``async_sessionmaker``, a scoped session, or a class of sessions.
      broker: The broker whose messages are meant, if the program has several; None for any.

    Returns:
      What was registered, for :func:`pgqueue.transactions.unregister_ambient`.
    """
    sessions = Sessions(broker)
    sessions.listen(_class_of(maker))
    register_ambient(sessions)
    return sessions


def _class_of(maker: Any) -> Any:
    if isinstance(maker, scoped_session | async_scoped_session):
        maker = maker.session_factory
    if isinstance(maker, async_sessionmaker):
        # An AsyncSession makes a Session, of which it has events; those of one class are those of one maker.
        sync_class = maker.kw.get("sync_session_class") or maker.class_.sync_session_class
        bound = type(sync_class.__name__, (sync_class,), {})
        maker.configure(sync_session_class=bound)
        return bound
    if isinstance(maker, sessionmaker):
        return maker
    if isinstance(maker, type) and issubclass(maker, Session):
        return maker
    raise TypeError(f"bind() takes a sessionmaker or an async_sessionmaker, not {maker!r}.")


def _present() -> object:
    """The asyncio task that runs, or else the thread."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident() if task is None else task
