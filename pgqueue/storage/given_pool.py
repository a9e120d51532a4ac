"""A pool of the program's own, which is one process's."""

from typing import Any

from psycopg_pool import ConnectionPool, NullConnectionPool

from .. import _forks
from ..errors import BadSetting

_FOREIGN = (
    "The pool that PostgresBroker was given was opened before this process was forked: its connections are the other "
    "process's. Give each process its own: make the pool with open=False and open it in the process that uses it, or "
    "give the broker a URL in its place: then it makes pools itself."
)


class GivenPool:
    """Refuses its pool to a process that was forked after the pool was opened."""

    def __init__(self, pool: "ConnectionPool[Any]") -> None:
        self.pool = pool
        self._is_foreign = False
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """Two processes can't share connections; a pool that keeps none can be used in both."""
        if not self.pool.closed and not isinstance(self.pool, NullConnectionPool):
            self._is_foreign = True

    def use(self) -> "ConnectionPool[Any]":
        """The pool.

        Raises:
          BadSetting: It is another process's.
        """
        if self._is_foreign:
            raise BadSetting(_FOREIGN)
        return self.pool
