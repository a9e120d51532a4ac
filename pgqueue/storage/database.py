"""Connections to one database and schema, and the only place where the driver's errors become ours."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import errors
from psycopg.pq import Format
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool, PoolTimeout

from .. import _forks
from ..errors import DatabaseUnavailable, PermissionDenied, SchemaOutdated, StatementTimedOut
from .answering import AnsweringConnection
from .given_pool import GivenPool
from .meeting import SERVER_SIDE, SERVER_SIDE_APART, agree, agree_on_dates, check_encoding, iso_dates, meet
from .refusals import explained, first_line, not_written, right_to_grant
from .servers import Servers
from .statements import BY_INDEX, Compiled, Statements
from .urls import conninfo_of_pool, redacted, settings_of

Connection: TypeAlias = "psycopg.Connection[Any]"

#: The revision that this release needs; the newest of ``migrations/versions``.
REQUIRED_REVISION = "pgqueue_0011"

#: Seconds to wait for a connection of the pool, or for the server to take a new one.
CONNECT_TIMEOUT_S = 10

#: Seconds within which a statement of the pool must be answered, which no statement_timeout bounds behind a pooler.
PATIENCE_S = 60.0

#: Seconds that a statement of an operator's may take.
STATEMENT_TIMEOUT_S = 5.0

#: Plans of such statements go by the indexes: what they read of a table without statistics is bounded by a LIMIT.
_BY_INDEX = (
    BY_INDEX, "SET LOCAL enable_bitmapscan = off", "SET LOCAL max_parallel_workers_per_gather = 0",
)  # fmt: skip

#: The same for the connections of workers, which try again at once: an attempt that a silent network has swallowed must
#: not hold up the one after it.
OWN_CONNECT_TIMEOUT_S = 5

#: A silent network is noticed after about eleven seconds: idle five, then three probes two seconds apart.
KEEPALIVES: Mapping[str, int] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}

_READ_ONLY = (
    "{} takes no writes here: it is a standby, or the role or the database is set to read only. Let the URL lead to "
    "the primary (several hosts, and target_session_attrs=read-write), or reset default_transaction_read_only."
)

_LOST = (
    errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleSessionTimeout,
    errors.IdleInTransactionSessionTimeout, errors.TooManyConnections, errors.ReadOnlySqlTransaction,
)  # fmt: skip
_MISSING = (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName, errors.UndefinedFunction)


class Database:
    """Where messages are kept: a URL (or a pool of the program's) and a schema. Opens nothing before the first use.

    Safe to share between threads. A forked child gets connections of its own.

    Parameters:
      url: A libpq URL or conninfo string, or a function that answers one when it is first needed.
      pool: A psycopg pool to use in the place of an own one; connections are put into autocommit mode while in use.
      schema: The schema that holds the tables.
      max_connections: The most connections of the own pool.
      prepare_threshold: As psycopg's. Behind a pooler, which may not be able to, nothing is prepared.
      application_name: What the server lists the own pool's connections as.
      direct_url: Where a worker's own connections go, which need a session each, if ``url`` leads to a pooler.
      patience_s: Within how many seconds a statement of the own pool must be answered.
      keeps_sessions: Whether a pooler on the way gives each of its clients a session of the server's own.
      servers: Those of a database whose connections must lead to the same server as this one's.

    Attributes:
      is_behind_pooler: Whether the sessions of its pool are a pooler's, which gives them to others in between; known
        once a connection was made.
    """

    def __init__(
        self,
        url: str | Callable[[], str] | None = None,
        *,
        pool: "ConnectionPool[Any] | None" = None,
        schema: str = "pgqueue",
        max_connections: int = 10,
        prepare_threshold: int | None = 5,
        application_name: str = "pgqueue",
        direct_url: str | Callable[[], str] | None = None,
        patience_s: float = PATIENCE_S,
        keeps_sessions: bool = False,
        servers: Servers | None = None,
    ) -> None:
        self.servers = servers or Servers()
        self.statements = Statements(schema)
        self.schema = schema
        self._url = url
        self._ask_url = url if callable(url) else None
        self._given_pool = None if pool is None else GivenPool(pool)
        self._own_pool: ConnectionPool[Any] | None = None
        self._ready: list[AnsweringConnection] = []
        self._max_connections = max_connections
        self.prepare_threshold = prepare_threshold
        self.is_behind_pooler = False
        self._application_name = application_name
        self._direct_url = direct_url
        self._patience_s = patience_s
        self._keeps_sessions = keeps_sessions
        # A signal handler that sends may have interrupted a first send, which holds it.
        self._lock = threading.RLock()
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Open connections of our own in a forked process."""
        _forks.keep((self._own_pool, self._ready))
        self._lock, self._own_pool, self._ready = threading.RLock(), None, []

    @property
    def has_url(self) -> bool:
        """Whether asking for the URL starts nothing."""
        return not callable(self._url)

    @property
    def url(self) -> str:
        """The URL; asking starts the bundled server if it is one."""
        if self._url is None:
            assert self._given_pool is not None  # noqa: S101  (the broker refuses to make one without either)
            self._url = conninfo_of_pool(self._given_pool.pool)
        if callable(self._url):
            self._url = self._url()
        return self._url

    def apart(self, *, application_name: str, max_connections: int) -> "Database":
        """The same database with a pool of its own, for transactions of the application: they may take any time."""
        return Database(
            lambda: self.url,
            schema=self.schema,
            max_connections=max_connections,
            prepare_threshold=self.prepare_threshold,
            application_name=application_name,
            patience_s=float("inf"),
            keeps_sessions=self._keeps_sessions,
            servers=self.servers,
        )

    def is_pooled(self, connection: "Connection | psycopg.AsyncConnection[Any]", pid: int) -> bool:
        """Whether a pooler gives the session to somebody else between two transactions.

        Parameters:
          pid: What the connection has answered first to `meet`. Poolers make up the one that they greet with.
        """
        return not self._keeps_sessions and pid != connection.info.backend_pid

    @property
    def server_side(self) -> Mapping[str, str]:
        """The settings of the pool's sessions; none where somebody else would get the session next."""
        if self.is_behind_pooler:
            return {}
        return SERVER_SIDE_APART if self._patience_s == float("inf") else SERVER_SIDE

    def found_pooled(self, *, is_pooled: bool) -> None:
        """Note what `is_pooled` has said of a new connection of the pool."""
        self.is_behind_pooler = is_pooled
        if is_pooled:
            self.prepare_threshold = None

    @property
    def direct_url(self) -> str:
        """Where a worker's own connections go."""
        return self._direct_url() if callable(self._direct_url) else self._direct_url or self.url

    @contextmanager
    def connection(self, *, answer_within_s: float | None = None) -> Iterator[Connection]:
        """A connection of the pool in autocommit mode, for a statement or a few.

        Parameters:
          answer_within_s: How long each may take, if not as long as others of this pool. Without effect on a pool of
            the program's.
        """
        with translated(self), self._pool().connection(timeout=CONNECT_TIMEOUT_S) as connection:
            check_encoding(connection)
            autocommit = connection.autocommit
            connection.autocommit = True
            if isinstance(connection, AnsweringConnection):
                connection.answer_within_s = answer_within_s or self._patience_s
            try:
                with iso_dates(connection):
                    yield connection
            except errors.ReadOnlySqlTransaction:
                # Its server has become a standby, perhaps: the next one may lead to the primary.
                connection.close()
                raise
            finally:
                if not connection.closed and connection.info.transaction_status == 0:
                    connection.autocommit = autocommit

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection of the pool inside a transaction, which commits at the end of the block."""
        with self.connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def bounded(self, timeout_s: float | None = None) -> Iterator[Connection]:
        """A connection inside a transaction for what operators ask: no statement may take long.

        Sequential scans are a last resort in it, for the tables of messages have no statistics worth anything.

        Raises:
          StatementTimedOut: One took longer than ``timeout_s``; None means five seconds.
        """
        timeout_s = STATEMENT_TIMEOUT_S if timeout_s is None else timeout_s
        try:
            with self.transaction() as connection:
                limit = f"SET LOCAL statement_timeout = {int(timeout_s * 1000)}"
                connection.execute("; ".join([limit, *_BY_INDEX]), prepare=False)
                yield connection
        except errors.QueryCanceled as error:
            raise StatementTimedOut(timeout_s) from error

    def connect(self, *, application_name: str, settings: Mapping[str, str] | None = None) -> Connection:
        """Open a connection of one's own, in autocommit mode, with the given session settings.

        Its statements are prepared at their first use. The caller closes it; use it under `translated`. Behind a pooler
        settings would become those of whoever comes next: there is neither of both.
        """
        with translated(self):
            connection = AnsweringConnection.connect(
                self.direct_url,
                autocommit=True,
                prepare_threshold=0,
                servers=self.servers,
                **self.options(
                    application_name=application_name,
                    url=self.direct_url,
                    connect_timeout_s=OWN_CONNECT_TIMEOUT_S,
                ),
            )
            pid, server = meet(connection, self.statements)
            if self.is_pooled(connection, pid):
                connection.pooled, connection.prepare_threshold = True, None
                agree_on_dates(connection)
            else:
                self.servers.met(connection, server)
                agree(connection, {**SERVER_SIDE, **(settings or {})})
            return connection

    def check(self, connection: Connection) -> None:
        """See, before its next use, whether a connection still leads to where the newest does, and to anybody.

        Raises:
          psycopg.OperationalError: It does not, and is closed now.
        """
        if isinstance(connection, AnsweringConnection):
            try:
                self.servers.check(connection)
                connection.check()
            except psycopg.OperationalError:
                connection.close()  # a pool would keep it
                raise

    def close(self) -> None:
        """Close the own pool; a later use opens it again, and asks for the URL again where that is a function's."""
        with self._lock:
            pool, self._own_pool = self._own_pool, None
            ready, self._ready = self._ready, []
            self._url = self._ask_url or self._url
        if pool is not None:
            pool.close()
            for connection in ready:
                connection.close()

    def describe(self) -> str:
        """The database for people: without secrets."""
        return redacted(self._url if isinstance(self._url, str) else "")

    def _pool(self) -> "ConnectionPool[Any]":
        if self._given_pool is not None:
            return self._given_pool.use()
        with self._lock:
            if self._own_pool is None:
                self._own_pool, self._ready = self._open_pool()
            return self._own_pool

    def _open_pool(self) -> "tuple[ConnectionPool[Any], list[AnsweringConnection]]":
        # The pool would try a wrong URL again and again in silence: a connection of our own says at once what is amiss.
        options = self.options(application_name=self._application_name)
        first = AnsweringConnection.connect(self.url, autocommit=True, servers=self.servers, **options)
        try:
            pid, server = meet(first, self.statements)
        except BaseException:
            first.close()
            raise
        self.found_pooled(is_pooled=self.is_pooled(first, pid))
        first.prepare_threshold = self.prepare_threshold
        if not self.is_behind_pooler:
            self.servers.met(first, server)
        ready = [first]
        pool: ConnectionPool[Any] = ConnectionPool(
            self.url,
            connection_class=AnsweringConnection,
            configure=self._configure,
            check=self.check,
            min_size=0,
            max_size=self._max_connections,
            num_workers=1,
            open=True,
            name=self._application_name,
            timeout=CONNECT_TIMEOUT_S,
            reconnect_timeout=CONNECT_TIMEOUT_S,
            kwargs={
                "autocommit": True,
                "prepare_threshold": self.prepare_threshold,
                "servers": self.servers,
                "ready": ready,
                **options,
            },
        )
        return pool, ready

    def _configure(self, connection: AnsweringConnection) -> None:
        if self.is_behind_pooler:
            agree_on_dates(connection)
            return
        if not connection.server:
            _, server = meet(connection, self.statements)
            self.servers.met(connection, server)
        agree(connection, self.server_side)

    def options(
        self, *, application_name: str, url: str | None = None, connect_timeout_s: int = CONNECT_TIMEOUT_S
    ) -> dict[str, Any]:
        """What the URL leaves open, time-outs and the name under which the server lists it; and UTF-8 in any case."""
        given = settings_of(self.url if url is None else url)
        defaults = {
            "application_name": application_name, "connect_timeout": connect_timeout_s, **KEEPALIVES
        }  # fmt: skip
        left_open = {name: value for name, value in defaults.items() if name not in given}
        return {**left_open, "client_encoding": "UTF8"}


def fetch(conn: Connection, statement: Compiled, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
    """Run a compiled statement, prepared at its first use; rows come in the server's binary form."""
    with psycopg.RawCursor(conn, row_factory=tuple_row) as cursor:
        cursor.format = Format.BINARY
        arguments = [parameters[name] for name in statement.names]
        return cursor.execute(statement.text, arguments, prepare=True).fetchall()


@contextmanager
def translated(database: Database | None = None) -> Iterator[None]:
    """Turn the driver's errors inside the block into pgqueue's, with the driver's as their cause."""
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise PermissionDenied(
            f"The database role may not do this: {first_line(error)}. {right_to_grant(error)}"
        ) from error
    except (errors.DiskFull, errors.OutOfMemory, errors.CheckViolation) as error:
        raise not_written(error, _where(database)) from error
    except errors.ReadOnlySqlTransaction as error:
        raise DatabaseUnavailable(_READ_ONLY.format(_where(database))) from error
    except _MISSING as error:
        raise SchemaOutdated(found=None, required=REQUIRED_REVISION, missing=first_line(error)) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate and not is_lost(error):
            raise
        raise DatabaseUnavailable(f"Can't use {_where(database)}: {explained(error)}") from error


def _where(database: Database | None) -> str:
    return (database.describe() if database is not None else "") or "the database"


def is_lost(error: BaseException) -> bool:
    """Whether ``error`` means that the connection is gone (and not that the server refused a statement)."""
    if isinstance(error, (DatabaseUnavailable, psycopg.InterfaceError, PoolTimeout, *_LOST)):
        return True
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or error.sqlstate.startswith("08")
    )


def has_session(connection: Connection) -> bool:
    """Whether one of `Database.connect`'s has a session of its own: for LISTEN, locks and settings."""
    return not (isinstance(connection, AnsweringConnection) and connection.pooled)
