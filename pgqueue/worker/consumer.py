"""The threads that fetch messages for a worker, and through which its worker threads acknowledge them."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event, Thread
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .. import _forks
from ..broker.worker_consumer import for_worker
from ..common import current_millis
from ..errors import ActorNotFound, BrokerConnectionError
from ..faults import Fault
from ..logging import own_logger
from .delayed import DelayedMessages, due_copy, read_eta
from .hooks import logged_if_raised
from .settings import ack_retry_delay_s, restart_delay_s

if TYPE_CHECKING:
    from ..broker import Broker, Consumer, MessageProxy
    from ..broker.worker_consumer import WorkerConsumer
    from .work_queue import WorkQueue

__all__ = ["ConsumerThread"]


@runtime_checkable
class HasTimeout(Protocol):
    """A consumer whose idle timeout can be changed while it is in use."""

    #: Milliseconds.
    timeout: int


class ConsumerThread(Thread):
    """Moves the messages of one queue into the worker's work queue, for as long as the worker runs.

    Parameters:
      prefetch: How many messages it may hold that are not yet acknowledged.
      worker_timeout: Milliseconds that the broker's consumer may wait for a message.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        queue_name: str,
        prefetch: int | None,
        work_queue: WorkQueue,
        worker_timeout: int,
    ) -> None:
        super().__init__(name=f"ConsumerThread({queue_name})", daemon=True)
        self.logger = own_logger("pgqueue.worker", f"ConsumerThread({queue_name})")
        self.broker = broker
        self.consumer: Consumer | None = None
        self.queue_name = queue_name
        self.prefetch = prefetch
        self.work_queue = work_queue
        self.worker_timeout = worker_timeout
        self.delay_queue = DelayedMessages()
        self.running = True
        self.paused = False
        self._draining = False
        self._resumed = Event()
        # Set whenever nothing is being fetched: before the start, while paused, between two connections, at the end.
        self._idle = Event()
        self._idle.set()
        self._stopping = Event()
        self._closed = Event()

    # -- the thread

    def run(self) -> None:
        """Fetch until told to stop, over any number of lost connections."""
        _forks.serve_here()
        self.logger.debug("Consumer thread is running.")
        with logged_if_raised(self.logger, "after the boot of a consumer thread"):
            self.broker.emit_after("consumer_thread_boot", self)
        while self.running:
            try:
                self._consume()
            except BrokerConnectionError as error:
                self.logger.critical("Consumer lost its connection: %s", error, fault=Fault.CONNECTION_LOST)
            except BaseException:
                # Hooks run in this thread, too, and what they raise must not end it, SystemExit or not.
                self.logger.critical(
                    "Consumer failed unexpectedly.", exc_info=True, fault=Fault.THREAD_FAILED
                )
            if self.running:
                self._await_restart()
        self._idle.set()
        with logged_if_raised(self.logger, "before the shutdown of a consumer thread"):
            self.broker.emit_before("consumer_thread_shutdown", self)
        self.logger.debug("Consumer thread has stopped.")

    def _consume(self) -> None:
        if not self._begin():
            return
        self.consumer = self._open_consumer()
        consumer = self.consumer_in_use
        if self._draining:
            consumer.pause()
        tunable = consumer if isinstance(consumer, HasTimeout) else None
        forgotten, recalls = consumer.forgotten, consumer.recalls
        for message in consumer:
            if message is not None:
                self.handle_message(message)
            forgotten = self._forget_delayed(consumer, forgotten)
            recalls = self._recall(consumer, recalls)
            if self.delay_queue.queue:
                self.handle_delayed_messages()
                if tunable is not None:
                    tunable.timeout = self._until_next_eta()
            if (self.paused or not self.running) and not self._begin():
                return

    def _forget_delayed(self, consumer: WorkerConsumer, known: int) -> int:
        """Drop what the consumer has forgotten since the last look, when it had done so ``known`` times."""
        forgotten = consumer.forgotten
        if forgotten != known:
            self.delay_queue.keep(consumer.holds)
        return forgotten

    def _recall(self, consumer: WorkerConsumer, known: int) -> int:
        """Give back what must not begin any more, however long the threads are busy, if that has changed."""
        recalls = consumer.recalls
        if recalls != known:
            self.work_queue.drop(lambda message, thread: thread is self and consumer.take_back(message))
        return recalls

    def _open_consumer(self) -> Consumer:
        return self.broker.consume(self.queue_name, prefetch=self.prefetch or 1, timeout=self.worker_timeout)

    def _begin(self) -> bool:
        """Stay here while paused; return whether the thread is to fetch after that."""
        while True:
            # Cleared before the flags are read: whoever sets one afterwards waits until it is set again.
            self._idle.clear()
            if not (self.running and self.paused):
                return self.running
            self._idle.set()
            self._resumed.wait()

    def _await_restart(self) -> None:
        self.requeue_messages(self.delay_queue.take_all())
        self._close_consumer()
        delay_s = restart_delay_s()
        self.logger.info("Consumer is started again in %.02f seconds.", delay_s)
        self._idle.set()
        self._stopping.wait(delay_s)

    def _until_next_eta(self) -> int:
        """Return for how many milliseconds the broker's consumer may wait before a delayed message is due."""
        eta = self.delay_queue.next_eta()
        if eta is None or eta - current_millis() >= self.worker_timeout:
            return self.worker_timeout
        return max(0, int(eta - current_millis()) + 1)

    # -- messages

    def handle_message(self, message: MessageProxy) -> None:
        """Put a fetched message where it belongs: into the work queue, or aside until it is due."""
        if "eta" in message.options:
            eta = read_eta(message, self.logger)
            if eta is not None:
                self.broker.emit_before("delay_message", message)
                self.delay_queue.add(message, eta=eta)
                return
        try:
            actor = self.broker.get_actor(message.actor_name)
        except ActorNotFound as error:
            self._reject(message, error)
        else:
            priority, turn_of = actor.priority, ""
            if self.consumer is not None:
                priority, turn_of = self.consumer_in_use.order(message, actor)
            self.work_queue.add(message, priority=priority, turn_of=turn_of, fetched_by=self)

    def _reject(self, message: MessageProxy, error: ActorNotFound) -> None:
        self.logger.error(
            "Received a message for the undeclared actor %r: %s.", message.actor_name, message,
            fault=Fault.UNKNOWN_ACTOR,
        )  # fmt: skip
        message.stuff_exception(error)
        message.fail()
        consumer = self.consumer_in_use
        try:
            consumer.started(message)
            with consumer.settling(message):
                self.post_process_message(message)
        except Exception:
            self.logger.exception("Could not reject message %s.", message, fault=Fault.ACK_FAILED)
        finally:
            consumer.finished(message)
            message.clear_exception()

    def handle_delayed_messages(self) -> None:
        """Enqueue a copy of every delayed message that is due, then acknowledge it."""
        for message in self.delay_queue.take_due(current_millis()):
            # In this order a crash doubles the message; in the other it would lose it.
            self.broker.enqueue(due_copy(message))
            self.post_process_message(message)

    def post_process_message(self, message: MessageProxy) -> None:
        """Acknowledge a message, or reject it if it has failed; called by any worker thread.

        While the broker can't be reached it is tried again every five seconds.
        """
        verdict = "nack" if message.failed else "ack"
        try:
            self.broker.emit_before(verdict, message)
        except BaseException:
            # The message has been processed, and no hook can change that any more.
            self.logger.critical(
                "Unexpected failure before the %s of message %s.", verdict, message, exc_info=True,
                fault=Fault.HOOK_FAILED,
            )  # fmt: skip
        if self._tell_broker(verdict, message):
            self._emit_after(verdict, message)

    def _emit_after(self, verdict: str, message: MessageProxy) -> None:
        try:
            self.broker.emit_after(verdict, message)
        except BaseException:
            self.logger.critical(
                "Unexpected failure after the %s of message %s.", verdict, message, exc_info=True,
                fault=Fault.HOOK_FAILED,
            )  # fmt: skip

    def _tell_broker(self, verdict: str, message: MessageProxy) -> bool:
        """Hand the verdict to the consumer of the moment; return whether it took it."""
        while True:
            try:
                if verdict == "ack":
                    self.consumer_in_use.ack(message)
                else:
                    self.consumer_in_use.nack(message)
            except BrokerConnectionError as error:
                self.logger.warning(
                    "Could not %s message %s, trying again: %s", verdict, message, error,
                    fault=Fault.ACK_DELAYED,
                )  # fmt: skip
            except Exception:
                self.logger.exception("Could not %s message %s.", verdict, message, fault=Fault.ACK_FAILED)
                return False
            else:
                return True
            if self._closed.wait(ack_retry_delay_s()):
                self.logger.error(
                    "Gave up the %s of message %s: its worker has stopped.", verdict, message,
                    fault=Fault.ACK_FAILED,
                )  # fmt: skip
                return False

    @property
    def consumer_in_use(self) -> WorkerConsumer:
        """The broker's consumer, as a worker uses it; there is one as soon as a message was fetched."""
        if self.consumer is None:
            raise RuntimeError(f"{self.name} has not consumed anything yet.")
        return for_worker(self.consumer)

    def requeue_messages(self, messages: Iterable[MessageProxy]) -> None:
        """Hand messages back that were fetched and never begun."""
        unstarted = list(messages)
        if self.consumer is None or not unstarted:
            return
        try:
            self.consumer.requeue(unstarted)
        except Exception:
            # Whatever a broker raises here must not keep the rest from being handed back and closed. The messages are
            # not lost: the broker takes back what a lost consumer held.
            self.logger.warning(
                "Could not hand back %d messages.", len(unstarted), exc_info=True, fault=Fault.ACK_FAILED
            )

    # -- what the worker tells it

    def pause(self) -> None:
        """Fetch nothing until `resume`; `wait_until_idle` waits until that is so."""
        self._resumed.clear()
        self.paused = True
        self._pause_consumer()

    def wait_until_idle(self) -> None:
        """Wait until the pause has begun."""
        while self.is_alive() and not self._idle.wait(timeout=0.1):
            pass

    def resume(self) -> None:
        """Go on after a pause, at once."""
        if self.consumer is not None:
            self.consumer_in_use.resume()
        self.paused = False
        self._resumed.set()

    def drain(self) -> None:
        """Let the broker fetch no more; the thread goes on, to keep the connection for what is still running."""
        self._draining = True
        self._pause_consumer()

    def stop(self) -> None:
        """Tell the thread to end; `join` waits for it."""
        self.running = False
        self._stopping.set()
        self._pause_consumer()
        self._resumed.set()

    def _pause_consumer(self) -> None:
        # Also how one that waits for a message is made to return at once.
        if self.consumer is not None:
            self.consumer_in_use.pause()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what was acknowledged is durable; return whether it is.

        Parameters:
          timeout: Seconds; None waits for ever.
        """
        return self.consumer is None or self.consumer_in_use.flush(timeout)

    def close(self) -> None:
        """Release the broker's consumer, after the thread has ended and everything else has been handed back."""
        self._closed.set()
        self._close_consumer()

    def _close_consumer(self) -> None:
        if self.consumer is None:
            return
        try:
            self.consumer.close()
        except Exception:
            self.logger.warning("Could not close the broker's consumer.", exc_info=True)
