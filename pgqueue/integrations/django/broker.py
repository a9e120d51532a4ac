"""The broker of a Django project, on one of its databases."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections, connections
from django.utils.module_loading import import_string

from ...broker import Broker, MessageProxy
from ...middleware import GroupCallbacks, Middleware
from ...rate_limits.backends.postgres import PostgresBackend as LimiterBackend
from ...results import Results
from ...results.backends.postgres import PostgresBackend
from ...storage.urls import conninfo_of
from .._inline import is_inline
from .actor_transactions import lent
from .conf import read
from .transactions import DjangoBroker

__all__ = ["DjangoConnections", "conninfo_of_alias", "make_broker"]


def make_broker() -> DjangoBroker:
    """Make the broker that ``PGQUEUE`` describes, with results and callbacks of groups. Connects to nothing.

    Raises:
      ImproperlyConfigured: The setting is wrong.
    """
    settings = read()
    middleware = None if settings.middleware is None else [_middleware(one) for one in settings.middleware]
    broker = DjangoBroker(
        settings.url or (lambda: conninfo_of_alias(settings.database)),
        alias=settings.database if settings.url is None else None,
        joins=settings.join_atomic,
        schema=settings.schema,
        middleware=middleware,
        **settings.options,
    )
    if broker.alias is not None:
        broker.actor_transactions.surround(partial(lent, broker))
    own = [
        DjangoConnections(),
        Results(backend=PostgresBackend(broker=broker), **settings.results),
        GroupCallbacks(LimiterBackend(broker=broker)),
    ]
    for one in own:
        if not any(isinstance(present, type(one)) for present in broker.middleware):
            broker.add_middleware(one)
    return broker


def _middleware(given: Any) -> Middleware:
    found = import_string(given) if isinstance(given, str) else given
    made = found if isinstance(found, Middleware) else found()
    if not isinstance(made, Middleware):
        raise ImproperlyConfigured(f"PGQUEUE['MIDDLEWARE'] has {given!r}, which is not a middleware.")
    return made


def conninfo_of_alias(alias: str) -> str:
    """How libpq connects to a database of ``DATABASES``; in tests that is the test database.

    Raises:
      ImproperlyConfigured: It is no PostgreSQL.
    """
    connection = connections[alias]
    if connection.vendor != "postgresql":
        raise ImproperlyConfigured(
            f"PGQUEUE needs a PostgreSQL, but the database '{alias}' is {connection.display_name}: name another "
            "alias in PGQUEUE['DATABASE']."
        )
    parameters = connection.get_connection_params()
    role = connection.settings_dict["OPTIONS"].get("assume_role")
    if role:
        escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
        parameters["options"] = f"{parameters.get('options', '')} -c role={escaped}".strip()
    return conninfo_of(parameters)


class DjangoConnections(Middleware):
    """Does to the database connections of worker threads what Django does to those of requests.

    Connections that are broken or older than ``CONN_MAX_AGE`` are closed before and after each message, and those of
    a thread at its end.
    """

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Let the message begin with connections that work."""
        self._close_old()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Close what the message has left broken, or too old."""
        self._close_old()

    def _close_old(self) -> None:
        # Where a test runs its messages itself, its transactions are open on the same connections.
        if not is_inline.get():
            close_old_connections()

    def before_worker_thread_shutdown(self, broker: Broker, thread: Any) -> None:
        """Close the thread's connections."""
        connections.close_all()
