"""Results in PostgreSQL: in a broker's database they are stored in the commit of the ack."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from pgqueue.results.backend import Missing, ResultBackend
from pgqueue.storage import results
from pgqueue.storage.database import Database
from pgqueue.storage.results import StoredResult

if TYPE_CHECKING:
    from pgqueue.encoder import Encoder

__all__ = ["PostgresBackend"]

#: Seconds between two looks of a blocking `get_result`: first and at most.
FIRST_POLL_S, MAX_POLL_S = 0.002, 0.05


class DatabaseBroker(Protocol):
    """What the backend needs of a broker; `PostgresBroker` has it."""

    @property
    def database(self) -> Database:
        """Where the broker keeps its messages."""

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

    @property
    def database(self) -> Database:
        """Where the results are kept."""
        if self._own_database is not None:
            return self._own_database
        assert self._broker is not None  # noqa: S101  # the constructor saw to it
        return self._broker.database

    def close(self) -> None:
        """Close the connections of a database of the backend's own."""
        if self._own_database is not None:
            self._own_database.close()

    def _get(self, message_key: str) -> Any:
        with self.database.connection() as conn:
            value = results.find(conn, self.database.statements, key=message_key)
        return Missing if value is None else self.encoder.decode(value)

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        stored = StoredResult(message_key, self.encoder.encode(result), ttl)
        if self._broker is not None and self._broker.store_with_ack(stored):
            return
        with self.database.connection() as conn:
            results.store(conn, self.database.statements, result=stored)

    def _poll(self, key: str, timeout: int) -> Any:
        deadline = time.monotonic() + timeout / 1000
        result, pause_s = Missing, FIRST_POLL_S
        while result is Missing and (left_s := deadline - time.monotonic()) > 0:
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, MAX_POLL_S)
            result = self._get(key)
        return result
