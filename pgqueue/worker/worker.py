"""The worker: threads that fetch a broker's messages, and threads that run them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING

from ..common import dq_name, join_all, q_name
from ..faults import Fault
from ..logging import own_logger
from ..middleware import Middleware
from .consumer import ConsumerThread
from .executor import WorkerThread
from .settings import WORKER_TIMEOUT, check, current
from .shared_consumer import SharedConsumerThread
from .work_queue import WorkQueue

if TYPE_CHECKING:
    from ..broker import Broker, MessageProxy

__all__ = ["Worker"]

#: The most that a prefetch is when nobody chose it; RabbitMQ's limit, which Dramatiq's defaults keep to.
MAX_DEFAULT_PREFETCH = 65535


class Worker:
    """Runs a broker's messages in threads of this process; one worker a process is enough.

    Parameters:
      queues: The queues to serve; None or empty for all that are or will be declared.
      worker_timeout: Milliseconds after which an idle thread looks what else there is to do.
      worker_threads: How many messages run at the same time.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        queues: Iterable[str] | None = None,
        worker_timeout: int = WORKER_TIMEOUT,
        worker_threads: int = 8,
    ) -> None:
        check()
        if isinstance(queues, str):
            # Its letters would be taken for the names of queues, which nobody sends to.
            raise TypeError(
                f"A worker's queues are a list of names: queues=[{queues!r}], not queues={queues!r}."
            )
        self.logger = own_logger("pgqueue.worker", type(self))
        self.broker = broker
        self.consumers: dict[str, ConsumerThread] = {}
        self.consumer_whitelist = {q_name(name) for name in queues} if queues else None
        self.delay_prefetch = current("DELAY_QUEUE_PREFETCH") or min(
            1000 * worker_threads, MAX_DEFAULT_PREFETCH
        )
        self.queue_prefetch = current("QUEUE_PREFETCH") or min(2 * worker_threads, MAX_DEFAULT_PREFETCH)
        self.workers: list[WorkerThread] = []
        self.worker_threads = worker_threads
        self.worker_timeout = worker_timeout
        self.work_queue = WorkQueue()
        # The broker's own policy holds unless somebody chose a number, by the constant or the attribute.
        self._unchosen_prefetch = None if current("QUEUE_PREFETCH") else self.queue_prefetch
        self._shared: SharedConsumerThread | None = None
        self._middleware = _WorkerMiddleware(self)
        # Queues are declared by any thread, perhaps while the worker starts or stops.
        self._consumers_lock = Lock()
        self._stop_lock = Lock()
        self._stopped = False

    def start(self) -> None:
        """Start all threads and return.

        Raises:
          BrokerConnectionError: The broker serves all queues over one consumer and can't be reached.
        """
        self.broker.emit_before("worker_boot", self)
        self._start_shared_consumer()
        self.broker.add_middleware(self._middleware)
        for _ in range(self.worker_threads):
            self._start_worker_thread()
        self.broker.emit_after("worker_boot", self)

    def pause(self) -> None:
        """Stop fetching and running messages; returns when every thread has."""
        threads = self._threads()
        for thread in threads:
            thread.pause()
        self.work_queue.wake_all()
        for thread in threads:
            thread.wait_until_idle()

    def resume(self) -> None:
        """Go on after a pause."""
        for thread in self._threads():
            thread.resume()

    def join(self) -> None:
        """Wait until every fetched message, delayed ones included, has been processed and acknowledged."""
        for consumer in self._consumer_threads():
            consumer.delay_queue.join()
        self.work_queue.join()
        for consumer in self._consumer_threads():
            consumer.flush()

    def begin_no_more(self) -> None:
        """Fetch and begin no more messages; returns at once, and nothing is interrupted."""
        for consumer in self._consumer_threads():
            consumer.drain()
        for thread in self.workers:
            if not thread.paused:
                thread.pause()
        self.work_queue.wake_all()

    def wind_down(self) -> bool:
        """Begin no more messages, hand back what was fetched, and return whether all that ran has ended.

        Ask again until it has, and then `stop`. Nothing is interrupted.
        """
        self.begin_no_more()
        self._hand_back_unstarted()
        return all(thread.is_idle for thread in self.workers)

    def stop(self, timeout: int = 600_000) -> None:
        """Let running messages end, hand back the others, and end all threads; a second call does nothing.

        Parameters:
          timeout: Milliseconds to wait for running messages; those that take longer are left to their threads.
        """
        with self._stop_lock:
            if not self._stopped:
                self._stopped = True
                self._shut_down(time.monotonic() + timeout / 1000)

    # -- starting

    def _start_shared_consumer(self) -> None:
        queue_names = {name for name in self._declared_queues() if self._serves(name)}
        prefetch = None if self.queue_prefetch == self._unchosen_prefetch else self.queue_prefetch
        consumer = self.broker.consume_many(
            queue_names, prefetch=prefetch, threads=self.worker_threads, timeout=self.worker_timeout
        )
        if consumer is None:
            return
        self._shared = SharedConsumerThread(
            broker=self.broker,
            consumer=consumer,
            queue_names=queue_names,
            prefetch=prefetch,
            threads=self.worker_threads,
            work_queue=self.work_queue,
            worker_timeout=self.worker_timeout,
        )
        self._shared.start()

    def _declared_queues(self) -> set[str]:
        return self.broker.get_declared_queues() - self.broker.get_declared_delay_queues()

    def _serves(self, queue_name: str) -> bool:
        return not self.consumer_whitelist or q_name(queue_name) in self.consumer_whitelist

    def serve_queue(self, queue_name: str) -> None:
        """Fetch from a queue that has been declared, unless it is not one of this worker's queues."""
        if not self._serves(queue_name):
            return
        with self._consumers_lock:
            if self._stopped or queue_name in self.consumers:
                return
            self.logger.debug("Serving queue %r.", queue_name)
            if self._shared is not None:
                self._shared.subscribe(queue_name)
                # Without a thread of its own the delay queue's name still leads to who would acknowledge for it.
                self.consumers[queue_name] = self.consumers[dq_name(queue_name)] = self._shared
            else:
                self._start_consumer(queue_name, prefetch=self.queue_prefetch)

    def serve_delay_queue(self, queue_name: str) -> None:
        """Fetch from a delay queue that has been declared, where that is the worker's business."""
        if self._shared is not None or not self._serves(queue_name):
            return
        with self._consumers_lock:
            if not self._stopped and queue_name not in self.consumers:
                self.logger.debug("Serving delay queue %r.", queue_name)
                self._start_consumer(queue_name, prefetch=self.delay_prefetch)

    def _start_consumer(self, queue_name: str, *, prefetch: int) -> None:
        self.consumers[queue_name] = ConsumerThread(
            broker=self.broker,
            queue_name=queue_name,
            prefetch=prefetch,
            work_queue=self.work_queue,
            worker_timeout=self.worker_timeout,
        )
        self.consumers[queue_name].start()

    def _start_worker_thread(self) -> None:
        thread = WorkerThread(
            broker=self.broker,
            consumers=self.consumers,
            work_queue=self.work_queue,
            worker_timeout=self.worker_timeout,
        )
        self.workers.append(thread)
        thread.start()

    # -- stopping

    def _consumer_threads(self) -> list[ConsumerThread]:
        """The consumer threads, each once, whatever the number of their queues."""
        with self._consumers_lock:
            threads = {id(thread): thread for thread in self.consumers.values()}
        if self._shared is not None:
            threads[id(self._shared)] = self._shared
        return list(threads.values())

    def _threads(self) -> list[ConsumerThread | WorkerThread]:
        return [*self._consumer_threads(), *self.workers]

    def _shut_down(self, deadline: float) -> None:
        self.logger.debug("Shutting down.")
        self.broker.emit_before("worker_shutdown", self)
        consumers = self._consumer_threads()
        for consumer in consumers:
            consumer.drain()
        self._stop_worker_threads(deadline)
        for consumer in consumers:
            consumer.stop()
        join_all(consumers, timeout=_milliseconds_until(deadline))
        self._hand_back(consumers)
        for consumer in consumers:
            consumer.flush(_milliseconds_until(deadline) / 1000)
            consumer.close()
        if self._middleware in self.broker.middleware:
            self.broker.middleware.remove(self._middleware)
        self.broker.emit_after("worker_shutdown", self)

    def _stop_worker_threads(self, deadline: float) -> None:
        for thread in self.workers:
            thread.stop()
        self.work_queue.wake_all()
        join_all(self.workers, timeout=_milliseconds_until(deadline))
        left = sum(thread.is_alive() for thread in self.workers)
        if left:
            self.logger.warning(
                "%d worker threads are still running their messages; they are left behind.", left,
                fault=Fault.LEFT_BEHIND,
            )  # fmt: skip

    def _hand_back(self, consumers: list[ConsumerThread]) -> None:
        """Give the broker everything that was fetched and not begun, in the order in which it came."""
        self._hand_back_unstarted()
        for consumer in consumers:
            consumer.requeue_messages(consumer.delay_queue.take_all())

    def _hand_back_unstarted(self) -> None:
        unstarted: dict[ConsumerThread, list[MessageProxy]] = {}
        for _, _, message, consumer in self.work_queue.take_all():
            unstarted.setdefault(consumer, []).append(message)
        for consumer, messages in unstarted.items():
            consumer.requeue_messages(messages)


class _WorkerMiddleware(Middleware):
    """Tells a worker which queues there are, and which ones come later."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def after_declare_queue(self, broker: Broker, queue_name: str) -> None:  # noqa: ARG002
        self._worker.serve_queue(queue_name)

    def after_declare_delay_queue(self, broker: Broker, queue_name: str) -> None:  # noqa: ARG002
        self._worker.serve_delay_queue(queue_name)


def _milliseconds_until(deadline: float) -> int:
    return max(0, int((deadline - time.monotonic()) * 1000))
