"""The one consumer thread of a worker whose broker serves all queues over one consumer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import BrokerConnectionError
from ..faults import Fault
from .consumer import ConsumerThread

if TYPE_CHECKING:
    from ..broker import Broker, Consumer
    from .work_queue import WorkQueue

__all__ = ["SharedConsumerThread"]


class SharedConsumerThread(ConsumerThread):
    """Fetches for many queues at once, from a broker that can.

    Parameters:
      consumer: The first of the broker's consumers, which the worker has opened.
      queue_names: What that one was opened for.
      threads: The number of worker threads.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        consumer: Consumer,
        queue_names: Iterable[str],
        prefetch: int | None,
        threads: int,
        work_queue: WorkQueue,
        worker_timeout: int,
    ) -> None:
        super().__init__(
            broker=broker,
            queue_name="*",
            prefetch=prefetch,
            work_queue=work_queue,
            worker_timeout=worker_timeout,
        )
        self.queue_names = set(queue_names)
        self.threads = threads
        self.consumer = consumer
        self._first: Consumer | None = consumer

    def subscribe(self, queue_name: str) -> None:
        """Fetch from one more queue, declared after the worker was started."""
        if queue_name in self.queue_names:
            return
        self.queue_names.add(queue_name)
        try:
            self.consumer_in_use.subscribe(queue_name)
        except BrokerConnectionError as error:
            self.logger.warning(
                "Queue %r has to wait for the next connection: %s",
                queue_name,
                error,
                fault=Fault.CLAIM_FAILED,
            )

    def _open_consumer(self) -> Consumer:
        if self._first is not None:
            consumer, self._first = self._first, None
            return consumer
        names = frozenset(self.queue_names)
        consumer = self._consume_many(names)
        self.consumer = consumer
        # Those that were declared while it was opened went to the one before it.
        for name in frozenset(self.queue_names) - names:
            self.consumer_in_use.subscribe(name)
        return consumer

    def _consume_many(self, names: frozenset[str]) -> Consumer:
        consumer = self.broker.consume_many(
            names, prefetch=self.prefetch, threads=self.threads, timeout=self.worker_timeout
        )
        if consumer is None:
            raise RuntimeError(f"{self.broker!r} no longer serves many queues over one consumer.")
        return consumer
