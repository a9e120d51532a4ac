"""What a transaction's connection has to be able to do, and which adapter makes which object such a thing."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import NotATarget

if TYPE_CHECKING:
    from ..storage.calls import Call, Rows
    from ..storage.statements import Statements

__all__ = ["AnyTarget", "AsyncTarget", "Target", "adapt"]


#: How psycopg and psycopg2 say that a transaction is open, and that it has failed.
IN_TRANSACTION, IN_ERROR = 2, 3


class Common(ABC):
    """What targets have in common.

    Parameters:
      connection: What the application passed, or what that stands for.
    """

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @abstractmethod
    def identity(self) -> object:
        """What is the same object for two targets in the same transaction: the driver's connection, best of all."""

    @abstractmethod
    def server(self) -> Hashable:
        """Which server, database and role the connection is for, as far as one can tell without asking the server."""

    def is_two_phase(self) -> bool:
        """Whether the transaction will be prepared, and so must not notify; asked after `inspect` found it well."""
        return False


class Target(Common):
    """A connection that is used by calling."""

    @abstractmethod
    def inspect(self) -> None:
        """See, without asking the server, whether a statement would run in an open transaction.

        Raises:
          TransactionError: It would not; the transaction, if there is one, is left as it is.
        """

    @abstractmethod
    def run(self, statements: Statements, call: Call) -> Rows:
        """Run a statement in the connection's transaction."""


class AsyncTarget(Common):
    """A connection that is awaited."""

    @abstractmethod
    async def inspect(self) -> None:
        """As :meth:`Target.inspect`."""

    @abstractmethod
    async def run(self, statements: Statements, call: Call) -> Rows:
        """Run a statement in the connection's transaction."""


AnyTarget: TypeAlias = Target | AsyncTarget

#: For each class of a library the adapter's module here and its class. Nothing of them is imported before an object of
#: that library is seen: its program has imported it then.
ADAPTERS = {
    "psycopg.Connection": ("_psycopg", "PsycopgTarget"),
    "psycopg.AsyncConnection": ("_psycopg", "AsyncPsycopgTarget"),
    "sqlalchemy.engine.Connection": ("_sqlalchemy", "ConnectionTarget"),
    "sqlalchemy.orm.Session": ("_sqlalchemy", "SessionTarget"),
    "sqlalchemy.orm.scoped_session": ("_sqlalchemy", "scoped_target"),
    "sqlalchemy.ext.asyncio.AsyncConnection": ("_sqlalchemy", "AsyncConnectionTarget"),
    "sqlalchemy.ext.asyncio.AsyncSession": ("_sqlalchemy", "AsyncSessionTarget"),
    "sqlalchemy.ext.asyncio.async_scoped_session": ("_sqlalchemy", "async_scoped_target"),
    "asyncpg.Connection": ("_asyncpg", "AsyncpgTarget"),
    "asyncpg.pool.PoolConnectionProxy": ("_asyncpg", "AsyncpgTarget"),
    "django.db.backends.base.base.BaseDatabaseWrapper": ("_django", "DjangoTarget"),
    "django.utils.connection.ConnectionProxy": ("_django", "proxied_target"),
}


def adapt(target: object) -> AnyTarget:
    """Make a target of what the application has.

    Raises:
      NotATarget: It is nothing that a transaction belongs to.
    """
    if isinstance(target, Target | AsyncTarget):
        return target
    if isinstance(target, str):
        return _of_alias(target)
    make = _known.get(type(target))
    if make is None:
        make = _known[type(target)] = _find(target)
    return make(target)


#: What makes targets of objects of a class that was seen before.
_known: dict[type, Callable[[Any], AnyTarget]] = {}


def _find(target: object) -> Callable[[Any], AnyTarget]:
    for path, (module, name) in ADAPTERS.items():
        kind = _loaded(path)
        if kind is not None and issubclass(type(target), kind):
            return _adapter(module, name)
    raise NotATarget(target)


def _loaded(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else None


def _of_alias(alias: str) -> AnyTarget:
    if "django.db" not in sys.modules:
        raise NotATarget(alias)
    return _adapter("_django", "aliased_target")(alias)


def _adapter(module: str, name: str) -> Callable[[Any], AnyTarget]:
    make: Callable[[Any], AnyTarget] = getattr(import_module(f".{module}", __package__), name)
    return make
