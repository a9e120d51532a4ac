"""A second view of a connection in a transaction, for a framework that wants adapters and cursors of its own."""

from datetime import datetime, tzinfo
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap, Buffer
from psycopg.types.datetime import TimestamptzLoader

from ..errors import TransactionEnded
from .database import Connection

_ENDED = (
    "This transaction belongs to the message of a transactional actor, and ends with it: raise an exception to roll it "
    "back, and make savepoints with atomic()."
)


class LentConnection(psycopg.Connection[Any]):
    """Speaks through another connection, in whose transaction it takes part, and can't end that.

    Parameters:
      context: Whose adapters it uses; None for psycopg's own.
      cursor_factory: What its cursors are.
      timezone: In which instants are given, whatever the session's is; None for naive ones.
      timezone_name: The zone that naive ones are in; None to give instants as psycopg does.
    """

    def __init__(
        self,
        lender: Connection,
        *,
        context: AdaptContext | None = None,
        cursor_factory: type[Any] = psycopg.Cursor,
        timezone: tzinfo | None = None,
        timezone_name: str | None = None,
    ) -> None:
        pgconn = lender.pgconn
        notices, notifications = pgconn.notice_handler, pgconn.notify_handler
        super().__init__(pgconn)
        # They go on being the lender's.
        pgconn.notice_handler, pgconn.notify_handler = notices, notifications
        self.cursor_factory = cursor_factory
        # The lender counts its prepared statements by itself.
        self.prepare_threshold = None
        if context is not None:
            self._adapters = AdaptersMap(context.adapters)
        if timezone_name is not None:
            self.adapters.register_loader("timestamptz", _loader(timezone, timezone_name))

    def __del__(self, *_: Any) -> None:
        """Leave the connection open: it is the lender's."""

    def commit(self) -> NoReturn:
        """Refuse.

        Raises:
          TransactionEnded: Always.
        """
        raise TransactionEnded(_ENDED)

    def rollback(self) -> NoReturn:
        """Refuse; errors as for `commit`."""
        raise TransactionEnded(_ENDED)

    def close(self) -> NoReturn:
        """Refuse; errors as for `commit`."""
        raise TransactionEnded(_ENDED)


def lend(connection: object) -> LentConnection | None:
    """A view of a connection of psycopg 3 that is in a transaction; None if it is another driver's."""
    return LentConnection(connection) if isinstance(connection, psycopg.Connection) else None


def _loader(given: tzinfo | None, name: str) -> type[TimestamptzLoader]:
    zone = given or ZoneInfo(name)

    class Loader(TimestamptzLoader):
        timezone = given  # where Django looks whether this loader is the right one

        def load(self, data: Buffer) -> datetime:
            instant = super().load(data).astimezone(zone)
            return instant if given is not None else instant.replace(tzinfo=None)

    return Loader
