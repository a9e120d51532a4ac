"""How messages come from a broker: the base of all consumers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .proxy import MessageProxy

__all__ = ["Consumer"]


class Consumer:
    """An endless iterator over the messages of a queue.

    One thread iterates; :meth:`ack` and :meth:`nack` are called from the worker threads. It has no other names than
    these: those of a subclass are its own.
    """

    def __iter__(self) -> Iterator[MessageProxy | None]:
        return self

    def __next__(self) -> MessageProxy | None:
        """Return the next message, or None when there was none for the time-out given to ``consume``.

        Raises:
          BrokerConnectionError: The connection is lost; this consumer is to be closed.
        """
        raise NotImplementedError

    def ack(self, message: MessageProxy) -> None:
        """Say that a message is done; one that this consumer does not hold is ignored."""
        raise NotImplementedError

    def nack(self, message: MessageProxy) -> None:
        """Send a message to the dead letters; one that this consumer does not hold is ignored."""
        raise NotImplementedError

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give fetched messages back to their queues, where others can take them at once.

        The base leaves that to :meth:`close`: many brokers take back what a closed consumer held.
        """

    def close(self) -> None:
        """Release the connection, which may be broken already."""
