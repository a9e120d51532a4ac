"""Results in PostgreSQL: in a broker's database they are stored in the commit of the ack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pgqueue.engine.async_mailbox import AsyncMailbox
from pgqueue.engine.mailbox import Mailbox
from pgqueue.results.backend import Missing, ResultBackend
from pgqueue.storage import results
from pgqueue.storage.async_database import AsyncDatabase
from pgqueue.storage.database import Database
from pgqueue.storage.results import StoredResult

if TYPE_CHECKING:
    from pgqueue.encoder import Encoder

__all__ = ["PostgresBackend"]


#: The most async connections of a backend's own, for each event loop.
MAX_CONNECTIONS = 10


class DatabaseBroker(Protocol):
    """What the backend needs of a broker; `PostgresBroker` has it."""

    @property
    def database(self) -> Database:
        """Where the broker keeps its messages."""

    @property
    def mailbox(self) -> Mailbox:
        """Where the process hears of results."""

    @property
    def async_mailbox(self) -> AsyncMailbox:
        """The same for coroutines."""

    def store_with_ack(self, result: StoredResult) -> bool:
        """Store a result with the ack of the message that this thread settles, if it settles one."""


class PostgresBackend(ResultBackend):
    """Keeps results in the table ``results``.

    Parameters:
      broker: Use this PostgresBroker's database; results of its messages are stored in the commit of their ack.
      url: A database of the backend's own. Give this or ``broker``.
      schema: The schema in the database at ``url``.
    """

    def __init__(
        self,
        *,
        broker: DatabaseBroker | None = None,
        url: str | None = None,
        schema: str = "pgqueue",
        namespace: str = "pgqueue-results",
        encoder: Encoder | None = None,
        use_namespace_prefix_keys: bool = False,
    ) -> None:
        super().__init__(
            namespace=namespace, encoder=encoder, use_namespace_prefix_keys=use_namespace_prefix_keys
        )
        if (broker is None) == (url is None):
            raise TypeError("PostgresBackend needs a broker or a url: PostgresBackend(broker=broker)")
        self._broker = broker
        self._own_database = None if url is None else Database(url, schema=schema)
        self._own_mailbox = None if self._own_database is None else Mailbox(self._own_database)
        self._own_async_database: AsyncDatabase | None = None
        self._own_async_mailbox: AsyncMailbox | None = None
        if self._own_database is not None and self._own_mailbox is not None:
            self._own_async_database = AsyncDatabase(self._own_database, max_connections=MAX_CONNECTIONS)
            self._own_async_mailbox = AsyncMailbox(
                self._own_mailbox, self._own_async_database, self._own_database.statements
            )

    @property
    def database(self) -> Database:
        """Where the results are kept."""
        if self._own_database is not None:
            return self._own_database
        assert self._broker is not None  # noqa: S101  # the constructor saw to it
        return self._broker.database

    def close(self) -> None:
        """Close the connections of a database of the backend's own."""
        if self._own_async_database is not None:
            self._own_async_database.close()
        if self._own_mailbox is not None:
            self._own_mailbox.close()
        if self._own_database is not None:
            self._own_database.close()

    def _get(self, message_key: str) -> Any:
        with self.database.connection() as conn:
            value = results.find(conn, self.database.statements, key=message_key)
        return self._decoded(value)

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        stored = StoredResult(message_key, self.encoder.encode(result), ttl)
        if self._broker is not None and self._broker.store_with_ack(stored):
            return
        with self.database.connection() as conn:
            results.store(conn, self.database.statements, result=stored)

    def _poll(self, key: str, timeout: int) -> Any:
        def look() -> tuple[Any] | None:
            found = self._get(key)
            return None if found is Missing else (found,)

        found = self._mailbox().wait(key, look, timeout_ms=timeout)
        return Missing if found is None else found[0]

    async def _get_async(self, message_key: str) -> Any:
        return self._decoded(await self._async_mailbox().look(message_key))

    async def _poll_async(self, key: str, timeout: int) -> Any:
        return self._decoded(await self._async_mailbox().wait(key, timeout_ms=timeout))

    def _decoded(self, value: bytes | None) -> Any:
        return Missing if value is None else self.encoder.decode(value)

    def _async_mailbox(self) -> AsyncMailbox:
        if self._own_async_mailbox is not None:
            return self._own_async_mailbox
        assert self._broker is not None  # noqa: S101  # the constructor saw to it
        return self._broker.async_mailbox

    def _mailbox(self) -> Mailbox:
        if self._own_mailbox is not None:
            return self._own_mailbox
        assert self._broker is not None  # noqa: S101  # the constructor saw to it
        return self._broker.mailbox
