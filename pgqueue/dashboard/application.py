"""Puts a dashboard together, for ASGI and for WSGI."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from a2wsgi import ASGIMiddleware
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..brokers._target import resolve
from ..storage.database import Database
from . import pages
from .endpoint import endpoint, failure, not_found
from .guard import Guard
from .settings import LOOPBACK_NAMES, MAX_CONNECTIONS, Role, Settings
from .site import Site

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

__all__ = ["LOOPBACK_NAMES", "application", "asgi", "settings_of", "wsgi"]

STATIC = Path(__file__).parent / "static"

RoleOf = Callable[["Request"], "Role | str | None"]
WSGIApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class DatabaseBroker(Protocol):
    """What a dashboard needs of a broker; `PostgresBroker` has it."""

    @property
    def database(self) -> Database:
        """Where the broker keeps its messages."""


def asgi(
    target: DatabaseBroker | Database | str,
    *,
    password: str | None = None,
    viewer_password: str | None = None,
    role: RoleOf | None = None,
    read_only: bool = False,
    redact: Collection[str] = (),
    schema: str = "pgqueue",
) -> ASGIApp:
    """Make an ASGI application, which any other may mount under any path.

    One of ``password``, ``role`` and ``read_only`` must be given: who may come in is not left to chance.

    Parameters:
      target: A broker (its pool is not used, actors with the option ``redact`` are redacted), or a database URL.
      password: That of operators, for HTTP's basic scheme with any user name.
      viewer_password: That of viewers, who can't act; without one of operators nobody can.
      role: Asked with Starlette's request who somebody is: ``"operator"``, ``"viewer"`` or None: nobody. In a thread.
      read_only: Nobody can act.
      redact: Names of actors, or patterns like ``billing_*``, whose arguments, results and errors nobody sees.
      schema: The schema in the database, if ``target`` is a URL.

    Raises:
      TypeError: ``target`` is no broker on PostgreSQL.
      ValueError: Nothing says who may come in, or a password is blank.
    """
    settings = settings_of(
        target,
        password=password,
        viewer_password=viewer_password,
        role=role,
        read_only=read_only,
        redact=redact,
        schema=schema,
    )
    if not (settings.has_password or role is not None or read_only):
        raise ValueError(
            "Say who may use the dashboard: password='…', role=a function that answers 'operator', 'viewer' or None, "
            "or read_only=True for everybody whom the program lets through."
        )
    return application(settings)


def wsgi(target: DatabaseBroker | Database | str, **options: Any) -> WSGIApp:
    """Make a WSGI application of the same; the parameters are those of `asgi`.

    ``role`` finds the WSGI environment in ``request.scope["wsgi_environ"]``.
    """
    app = asgi(target, **options)
    made: dict[int, Any] = {}
    lock = threading.Lock()

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # Its event loop runs in a thread, which a fork (of a server that has loaded the program first) leaves behind.
        with lock:
            if os.getpid() not in made:
                made.clear()
                made[os.getpid()] = ASGIMiddleware(cast("Any", app))  # its types are its own
            bridge = made[os.getpid()]
        answer: Iterable[bytes] = bridge(environ, start_response)
        return answer

    return call


def settings_of(
    target: DatabaseBroker | Database | str,
    *,
    password: str | None = None,
    viewer_password: str | None = None,
    role: RoleOf | None = None,
    read_only: bool = False,
    redact: Collection[str] = (),
    schema: str = "pgqueue",
    hosts: Collection[str] | None = None,
) -> Settings:
    """Settings out of the arguments of `asgi`."""
    return Settings(
        _database_of(target, schema),
        password=password,
        viewer_password=viewer_password,
        role_of=role,
        read_only=read_only,
        redacted=(redact,) if isinstance(redact, str) else tuple(redact),
        hosts=hosts,
        actors=getattr(target, "actors", {}),
    )


def _database_of(target: DatabaseBroker | Database | str, schema: str) -> Database:
    name = "pgqueue dashboard"
    if isinstance(target, str):
        return Database(
            resolve(target), schema=schema, max_connections=MAX_CONNECTIONS, application_name=name
        )
    database = target if isinstance(target, Database) else getattr(target, "database", None)
    if not isinstance(database, Database):
        raise TypeError(
            f"The dashboard shows a PostgresBroker or the database at a URL, not {type(target).__name__}."
        )
    return database.apart(application_name=name, max_connections=MAX_CONNECTIONS)


def application(settings: Settings) -> ASGIApp:
    """The whole, behind its guard."""
    site = Site(settings)
    routes: list[Route | Mount] = [Mount("/static", StaticFiles(directory=STATIC), name="static")]
    for path, page in pages.PAGES.items():
        handler = endpoint(site, page, fit=path != "/health")
        names = [path] if path == "/" else [path, f"{path}.json"]
        names += ["/overview.json"] if path == "/" else []
        routes += [Route(name, handler, methods=["GET"]) for name in names]
    routes += [
        Route(path, endpoint(site, act, acts=True), methods=["POST"]) for path, act in pages.ACTIONS.items()
    ]
    app = Starlette(
        routes=routes, exception_handlers={404: not_found(site), 405: not_found(site), 500: failure(site)}
    )
    return Guard(app, settings)
