"""What a worker tells and asks a consumer beyond Dramatiq's names; consumers that know nothing of it are adapted.

Its names are plain words, which the consumers of other brokers may well use for something else: so they are not in
`Consumer`, their base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from .consumer import Consumer

if TYPE_CHECKING:
    from pgqueue.actor import Actor

    from .proxy import MessageProxy

__all__ = ["Withheld", "WorkerConsumer", "for_worker"]

_NOTHING: AbstractContextManager[None] = nullcontext()


class Withheld(Exception):
    """Raised by `WorkerConsumer.started`: the message must not begin here, and the consumer has taken it back.

    No hook hears of the message, and it is not acknowledged: it was not skipped, it has yet to run.
    """


class WorkerConsumer(Consumer):
    """A consumer that takes part in the life of a worker and of its messages; it may serve several queues.

    :meth:`settling`, :meth:`running`, :meth:`started` and :meth:`finished` are called from the worker threads.
    """

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


def for_worker(consumer: Consumer) -> WorkerConsumer:
    """Return a consumer as a worker uses it: itself, or what calls nothing of it but Dramatiq's names."""
    return consumer if isinstance(consumer, WorkerConsumer) else _Adapted(consumer)


class _Adapted(WorkerConsumer):
    """Another broker's consumer; keeps nothing of its own, so that there may be several of one."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __iter__(self) -> Iterator[MessageProxy | None]:
        return iter(self._consumer)

    def __next__(self) -> MessageProxy | None:
        return next(self._consumer)

    def ack(self, message: MessageProxy) -> None:
        self._consumer.ack(message)

    def nack(self, message: MessageProxy) -> None:
        self._consumer.nack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        self._consumer.requeue(messages)

    def close(self) -> None:
        self._consumer.close()
