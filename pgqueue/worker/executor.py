"""The threads that run a worker's messages.

What happens to one message, in order: ``before_process_message``, the actor, then ``after_process_message`` (or
``after_skip_message``), the acknowledgement with its hooks, and the end of its work item. Only the actor can be
interrupted. A time limit or a shutdown that comes while the hooks before it run, interrupts the actor as it starts;
one that comes later is too late and forgotten: it must not tear what decides about the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from .. import _forks
from ..broker.worker_consumer import Withheld
from ..common import error_text
from ..errors import RateLimitExceeded, Retry, SkipMessage
from ..faults import Fault
from ..logging import own_logger
from ..middleware.retries import is_expected
from ..results import Results
from ..threading import Cancelled, Interrupt, InterruptShield
from .hooks import logged_if_raised

if TYPE_CHECKING:
    from ..broker import Broker, MessageProxy
    from ..broker.worker_consumer import WorkerConsumer
    from .consumer import ConsumerThread
    from .work_queue import WorkQueue

__all__ = ["WorkerThread"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the run of a message ended."""

    result: Any = None
    exception: BaseException | None = None
    skipped: bool = False


_NO_RESULT = Outcome()
_WITHHELD = Outcome(skipped=True)


class NoShield:
    """What a thread has that does not run: a program's test may have it process a message in the test's own thread."""

    def forget(self) -> None:
        """Do nothing: nothing is kept."""

    def lower(self) -> None:
        """Do nothing: interrupts go through."""

    def raise_(self) -> None:
        """Do nothing: interrupts go through."""


class WorkerThread(Thread):
    """Runs messages from the work queue, one at a time, for as long as the worker runs.

    Parameters:
      consumers: The worker's consumer threads by queue name.
      worker_timeout: Milliseconds between two looks at an empty work queue.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        consumers: Mapping[str, ConsumerThread],
        work_queue: WorkQueue,
        worker_timeout: int,
    ) -> None:
        super().__init__(name="WorkerThread", daemon=True)
        self.logger = own_logger("pgqueue.worker", "WorkerThread")
        self.broker = broker
        self.consumers = consumers
        self.work_queue = work_queue
        self.worker_timeout = worker_timeout
        self.running = True
        self.paused = False
        self._resumed = Event()
        self._resumed.set()
        self._idle = Event()
        self._shield: InterruptShield | NoShield = NoShield()

    # -- the thread

    def run(self) -> None:
        """Run messages until told to stop."""
        self._shield = shield = InterruptShield()
        _forks.serve_here()
        self.logger.debug("Worker thread is running.")
        with logged_if_raised(self.logger, "after the boot of a worker thread"):
            self.broker.emit_after("worker_thread_boot", self)
        while self.running:
            try:
                self._run_next()
            except Interrupt as error:
                self.logger.info("%r came too late: its message had ended.", error)
            except BaseException:
                # Every message's own faults end in `process_message`. Whatever this is, the thread goes on.
                self.logger.critical(
                    "Worker thread failed unexpectedly.", exc_info=True, fault=Fault.THREAD_FAILED
                )
        self._idle.set()
        with logged_if_raised(self.logger, "before the shutdown of a worker thread"):
            self.broker.emit_before("worker_thread_shutdown", self)
        shield.remove()
        self.logger.debug("Worker thread has stopped.")

    def _run_next(self) -> None:
        if self.paused:
            self._idle.set()
            self._resumed.wait()
            self._idle.clear()
            return
        try:
            _, _, message, consumer_thread = self.work_queue.get(timeout=self.worker_timeout / 1000)
        except Empty:
            return
        self.process_message(message, consumer_thread)

    # -- one message

    def process_message(self, message: MessageProxy, consumer_thread: ConsumerThread | None = None) -> None:
        """Run a message taken from the work queue and see it acknowledged; raises nothing.

        Parameters:
          consumer_thread: The one that has fetched it; None means the one of the message's queue.
        """
        consumer_thread = consumer_thread or self.consumers[message.queue_name]
        consumer = consumer_thread.consumer_in_use
        try:
            self._shield.forget()
            # No variable of this frame may hold the outcome: the traceback of its exception leads back to the frame.
            self._settle(message, consumer, consumer_thread, self._attempt(message, consumer))
        except BaseException:
            self.logger.critical(
                "Failed to settle message %s.", message, exc_info=True, fault=Fault.ACK_FAILED
            )
        finally:
            self._finish(message, consumer)

    def _attempt(self, message: MessageProxy, consumer: WorkerConsumer) -> Outcome:
        """Run the actor between its hooks."""
        # The exception must never be a variable of this frame: it refers to the frame through its traceback, and
        # only the cyclic collector would free the two.
        try:
            consumer.started(message)
            self.broker.emit_before("process_message", message)
            if message.failed:
                return _NO_RESULT
            result = self._run_actor(message, consumer)
            return _NO_RESULT if result is None else Outcome(result=result)
        except Withheld as error:
            self.logger.info("Message %s is not begun: %s.", message, error)
            return _WITHHELD
        except SkipMessage as error:
            message.stuff_exception(error)
            self.logger.info("Skipped message %s: %s", message, error_text(error))
            return Outcome(exception=error, skipped=True)
        except BaseException as error:  # noqa: BLE001  # whatever an actor raises is how it failed
            message.stuff_exception(error)
            self._log_failure(message, error)
            return Outcome(exception=error)

    def _run_actor(self, message: MessageProxy, consumer: WorkerConsumer) -> Any:
        actor = self.broker.get_actor(message.actor_name)
        depth = _forks.depth
        with consumer.running(message, actor) as finish:
            try:
                self._shield.lower()
                result = actor(*message.args, **message.kwargs)
                if _forks.depth != depth:
                    _forks.leave()
                if finish is not None:
                    finish()
            except BaseException as error:
                if _forks.depth != depth:
                    _forks.leave(error)
                raise
            finally:
                # In line, not in a method: the call of one would be another place in which an interrupt can land.
                while True:
                    try:
                        self._shield.raise_()
                        break
                    except Interrupt as error:
                        self.logger.info("%r came too late for message %s.", error, message)
        if result is not None:
            self._warn_if_discarded(message)
        return result

    def _settle(
        self,
        message: MessageProxy,
        consumer: WorkerConsumer,
        consumer_thread: ConsumerThread,
        outcome: Outcome,
    ) -> None:
        """Call the hooks that decide about the message, and tell the broker."""
        if outcome is _WITHHELD:
            return
        with consumer.settling(message):
            try:
                if outcome.skipped:
                    self.broker.emit_after("skip_message", message)
                elif outcome.exception is None:
                    self.broker.emit_after("process_message", message, result=outcome.result)
                else:
                    self.broker.emit_after("process_message", message, exception=outcome.exception)
            except BaseException:
                # What a hook raised that is no Exception, SystemExit for example; the others have been called.
                self.logger.critical(
                    "Unexpected failure in a hook after message %s.", message, exc_info=True,
                    fault=Fault.HOOK_FAILED,
                )  # fmt: skip
            consumer_thread.post_process_message(message)

    def _finish(self, message: MessageProxy, consumer: WorkerConsumer) -> None:
        try:
            consumer.finished(message)
        except BaseException:
            self.logger.critical(
                "Failed to finish message %s.", message, exc_info=True, fault=Fault.ACK_FAILED
            )
        # Before the item counts as done, for whoever waits for that may look whether the exception is gone.
        message.clear_exception()
        self.work_queue.task_done()

    # -- what is logged about it

    def _log_failure(self, message: MessageProxy, error: BaseException) -> None:
        if isinstance(error, Retry):
            return
        if isinstance(error, Cancelled):
            self.logger.info("Message %s was cancelled.", message)
            return
        if isinstance(error, RateLimitExceeded):
            self.logger.debug("Rate limit exceeded in message %s: %s.", message, error_text(error))
        elif self._is_expected(message, error):
            self.logger.info(
                "Failed to process message %s with expected exception %s.", message, error_text(error)
            )
        else:
            self.logger.error(
                "Failed to process message %s with unhandled exception.", message, exc_info=error
            )

    def _is_expected(self, message: MessageProxy, error: BaseException) -> bool:
        actors = self.broker.get_actor(message.actor_name).options
        return is_expected(error, message.options.get("throws") or actors.get("throws"))

    def _warn_if_discarded(self, message: MessageProxy) -> None:
        if message.options.get("pipe_target"):
            return
        if not any(isinstance(middleware, Results) for middleware in self.broker.middleware):
            self.logger.warning(
                "Actor %r returned a value that is not None, but nothing stores it. "
                "Consider adding the Results middleware.",
                message.actor_name,
            )

    # -- what the worker tells it

    def pause(self) -> None:
        """Begin no message until `resume`; `wait_until_idle` waits until that is so."""
        if self.paused:
            # It is idle already, or will be; nothing would set that again.
            return
        self._idle.clear()
        self._resumed.clear()
        self.paused = True

    def wait_until_idle(self) -> None:
        """Wait until the pause has begun, which is when the running message has ended."""
        while self.is_alive() and not self._idle.wait(timeout=0.1):
            pass

    @property
    def is_idle(self) -> bool:
        """Whether a pause has begun, or the thread has ended."""
        return self._idle.is_set() or not self.is_alive()

    def resume(self) -> None:
        """Go on after a pause."""
        self.paused = False
        self._resumed.set()

    def stop(self) -> None:
        """Begin no further message; `join` waits for the end of the running one."""
        self.running = False
        self.resume()
