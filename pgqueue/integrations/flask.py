"""pgqueue as a Flask extension: ``queue = PGQueue(app)``, or ``queue.init_app(app)`` in an application factory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any, NoReturn

from ..errors import BrokerNotConfigured, MissingExtra

try:
    import click
    from flask import Flask, current_app, has_app_context
    from flask.cli import AppGroup, ScriptInfo, pass_script_info
except ImportError as error:
    raise MissingExtra("flask", "pgqueue.integrations.flask") from error

from .._registry import get_broker, set_broker
from ..broker import Broker, MessageProxy
from ..brokers._target import resolve
from ..brokers.postgres import PostgresBroker
from ..middleware import Middleware
from ..results import Results
from ..results.backends.postgres import PostgresBackend
from ..transactions import register_ambient
from ._inline import Runner
from ._program import become_worker
from .health import check_health

__all__ = ["AppContext", "PGQueue", "load"]


class PGQueue:
    """The queue of a Flask application. Its broker becomes the process's, so that ``@pgqueue.actor`` finds it.

    What is sent while the session of Flask-SQLAlchemy is in a transaction is sent by its commit. Workers run each
    message in an application context of its own.

    Configuration of the application:
      ``PGQUEUE_URL``: The database. Default: the one of Flask-SQLAlchemy, ``SQLALCHEMY_DATABASE_URI``; then the
        environment's.
      ``PGQUEUE_JOIN_SESSION``: Whether Flask-SQLAlchemy's session is joined. Default: if it has the same URL.
      ``PGQUEUE_HEALTH_PATH``: Where the health check answers, ``"/health/queue"`` for example. Default: nowhere.
      ``PGQUEUE_LEAST_WORKERS``: With fewer worker processes alive the health check fails. Default: 0.

    Parameters:
      app: None if `init_app` follows.
      broker: One to use in the place of an own one; then the configuration's URL and ``options`` don't count.
      options: For `PostgresBroker`.
    """

    def __init__(self, app: Flask | None = None, *, broker: Broker | None = None, **options: Any) -> None:
        self.app: Flask | None = None
        self.broker = self._make_broker(options) if broker is None else broker
        first = next((type(one) for one in self.broker.middleware), None)
        self.broker.add_middleware(AppContext(self), before=first)
        set_broker(self.broker)
        register_ambient(self._session)
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Use this application's configuration, database and context; the last one counts."""
        self.app = app
        app.extensions["pgqueue"] = self
        app.cli.add_command(commands)
        path = app.config.get("PGQUEUE_HEALTH_PATH")
        if path:
            app.add_url_rule(path, "pgqueue_health", self.health)

    def health(self) -> tuple[dict[str, Any], int]:
        """Answer a health check: whether database and schema can be used, and how many workers there are."""
        found = check_health(self.broker, least_workers=self._setting("PGQUEUE_LEAST_WORKERS", 0))
        return found.asdict(), found.status_code

    def run_messages(self, *, delayed: bool = False) -> int:
        """Run what was sent, here and now, until nothing is left: for tests. Return how many messages were run.

        The first attempt that fails ends it with its exception; where the message has retries left, the next one waits
        then, and is run by a further call with ``delayed``. `Retry` ends nothing. Messages that are not committed yet
        are run, too, if their session is the present one.

        Parameters:
          delayed: Whether to run those that are not due yet, retries among them.
        """
        return Runner(self.broker).run(delayed=delayed)

    def _make_broker(self, options: dict[str, Any]) -> PostgresBroker:
        broker = PostgresBroker(self._url, **options)
        if not any(isinstance(one, Results) for one in broker.middleware):
            broker.add_middleware(Results(backend=PostgresBackend(broker=broker)))
        return broker

    def _url(self) -> str:
        if self.app is None:
            raise BrokerNotConfigured(
                "PGQueue() has no application yet: call queue.init_app(app) before anything is sent."
            )
        found = resolve(self._setting("PGQUEUE_URL", None) or self._url_of_sqlalchemy())
        return found() if callable(found) else found

    def _url_of_sqlalchemy(self) -> str | None:
        if self.app is None or "sqlalchemy" not in self.app.extensions:
            return None
        uri: Any = self.app.config.get("SQLALCHEMY_DATABASE_URI")
        return str(uri.render_as_string(hide_password=False) if hasattr(uri, "render_as_string") else uri)

    def _session(self, broker: Broker) -> object:
        """Answer, as an ambient provider, Flask-SQLAlchemy's session, if it is in a transaction here."""
        if broker is not self.broker or not has_app_context() or not self._joins():
            return None
        extension = current_app.extensions.get("sqlalchemy")
        scoped = getattr(extension, "session", None)
        if scoped is None or not scoped.registry.has():
            return None
        session = scoped.registry()
        # Imported here: an application without Flask-SQLAlchemy may be one without SQLAlchemy.
        from ._sessions import is_open  # noqa: PLC0415

        return session if is_open(session) else None

    def _joins(self) -> bool:
        own = self._setting("PGQUEUE_URL", None)
        return bool(self._setting("PGQUEUE_JOIN_SESSION", own is None or own == self._url_of_sqlalchemy()))

    def _setting(self, name: str, default: Any) -> Any:
        return default if self.app is None else self.app.config.get(name, default)


class AppContext(Middleware):
    """Runs each message in an application context, whose teardown gives its database session back."""

    def __init__(self, queue: PGQueue) -> None:
        self._queue = queue
        self._local = threading.local()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Push a context."""
        if self._queue.app is None:
            raise RuntimeError(
                "Workers need the application: load a function that makes it, `pgqueue app:create_app`."
            )
        context = self._queue.app.app_context()
        context.push()
        self._contexts().append(context)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Pop it."""
        if contexts := self._contexts():
            contexts.pop().pop()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Pop it."""
        if contexts := self._contexts():
            contexts.pop().pop()

    def _contexts(self) -> list[Any]:
        found: list[Any] = self._local.__dict__.setdefault("contexts", [])
        return found


def load() -> Broker:
    """Find the application as ``flask`` does (``FLASK_APP``, ``app.py``, ``wsgi.py``); return its broker for workers.

    Raises:
      BrokerNotConfigured: The application has no `PGQueue`.
    """
    app = ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
    if "pgqueue" not in app.extensions:
        raise BrokerNotConfigured(f"The Flask application {app.name!r} has no PGQueue: call PGQueue(app).")
    queue: PGQueue = app.extensions["pgqueue"]
    set_broker(queue.broker)
    return get_broker()


commands = AppGroup("pgqueue", help="Workers and tables of the queue.")


@commands.command(
    "worker",
    with_appcontext=False,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    help="Run workers, with the arguments of `pgqueue worker`: -p 2 -t 8 -Q mail.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@pass_script_info
def _worker(info: ScriptInfo, words: Iterable[str]) -> NoReturn:
    given = info.app_import_path
    become_worker(f"{__name__}:load", list(words), {"FLASK_APP": given} if given else None)


@commands.command("migrate", help="Create the tables, or bring them up to date.")
def _migrate() -> None:
    queue: PGQueue = current_app.extensions["pgqueue"]
    if not isinstance(queue.broker, PostgresBroker):
        raise click.ClickException(f"{type(queue.broker).__name__} has no tables.")
    # Imported here: neither the application nor its workers need Alembic.
    from .. import schema as tables  # noqa: PLC0415

    database = queue.broker.database
    tables.upgrade(database.url, database.schema)
    click.echo(f"Schema '{database.schema}' in {database.describe()} is at {tables.head()}.")
