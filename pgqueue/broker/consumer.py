"""How messages come from a broker: the base of all consumers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pgqueue.actor import Actor

    from .proxy import MessageProxy

__all__ = ["Consumer", "Withheld"]

_NOTHING: AbstractContextManager[None] = nullcontext()


class Withheld(Exception):
    """Raised by `Consumer.started`: the message must not begin here, and the consumer has taken it back.

    No hook hears of the message, and it is not acknowledged: it was not skipped, it has yet to run.
    """


class Consumer:
    """An endless iterator over the messages of a queue, or of several.

    One thread iterates; :meth:`ack`, :meth:`nack`, :meth:`settling`, :meth:`started` and :meth:`finished` are
    called from the worker threads.
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

    def settling(self, message: MessageProxy) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return what surrounds the end of a message: its after-hooks, its ack or nack, and their hooks.

        A broker that can commits everything the hooks send or store together with the ack.
        """
        return nullcontext()

    def running(
        self,
        message: MessageProxy,  # noqa: ARG002
        actor: Actor[..., Any],  # noqa: ARG002
    ) -> AbstractContextManager[Callable[[], None] | None]:
        """Return what surrounds the actor's call; it gives what is to be called at the call's end, as a part of it."""
        return _NOTHING

    def order(self, message: MessageProxy, actor: Actor[..., Any]) -> tuple[int, str]:  # noqa: ARG002
        """Return what orders a fetched message among others: its priority, lower first, and whose turn it takes.

        Of equal priority, those of one name come in the order of arrival, and names take turns.
        """
        return actor.priority, ""

    @property
    def forgotten(self) -> int:
        """How often this consumer has forgotten everything that it had handed out, as when its queue was flushed."""
        return 0

    def holds(self, message: MessageProxy) -> bool:  # noqa: ARG002
        """Whether a message that this consumer has handed out is still wanted; not if it was forgotten since."""
        return True

    @property
    def recalls(self) -> int:
        """How often what may begin has changed, so that `take_back` is to be asked about what has not begun."""
        return 0

    def take_back(self, message: MessageProxy) -> bool:  # noqa: ARG002
        """Take a fetched message back that must not begin; answer whether it was one."""
        return False

    def started(self, message: MessageProxy) -> None:
        """Told by a worker thread that it begins with a message.

        Raises:
          Withheld: It must not; nothing is left to do with the message.
        """

    def finished(self, message: MessageProxy) -> None:
        """Told by a worker thread that it is through with a message, whatever happened."""

    def subscribe(self, queue_name: str) -> None:
        """Consume one more queue: for consumers of many queues."""

    def pause(self) -> None:
        """Fetch no more messages."""

    def resume(self) -> None:
        """Fetch messages again."""

    def flush(self, timeout: float | None = None) -> bool:  # noqa: ARG002
        """Wait until every ack and nack is durable; False: it took more than ``timeout`` seconds."""
        return True
