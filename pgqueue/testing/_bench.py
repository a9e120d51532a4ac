"""The bench: runs messages one by one in the calling thread, with all hooks, as a worker would."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from queue import Empty
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..common import to_millis
from ..errors import ActorNotFound
from ..middleware import Middleware
from ..threading import InterruptShield
from ..worker import ConsumerThread, Worker, WorkerThread
from ..worker.work_queue import WorkQueue
from ._shelf import shelf_of

if TYPE_CHECKING:
    from ..broker import Broker, Consumer, MessageProxy

__all__ = ["Bench", "CrashPoint", "Ran", "drain", "inline"]

#: Milliseconds to wait for a message before the broker is asked how many there are.
_LOOK_MS = 20

#: Seconds after which messages that can't be had must be somebody else's.
_PATIENCE_S = 10.0


class CrashPoint(enum.Enum):
    """Where a process dies that has a message, whether its actor returns or raises."""

    #: It has fetched it and not begun; no attempt is charged.
    FETCHED = "fetched"
    #: The actor has returned or raised; nothing of that is recorded.
    RAN = "ran"
    #: The hooks after it have been called, too: retries, results, callbacks. Nothing of that is committed.
    SETTLED = "settled"
    #: All of that is committed, and the worker hasn't heard of it yet: the message has ended.
    COMMITTED = "committed"


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a message.

    Attributes:
      exception: What it raised, or None.
      failed: It went to the dead letters.
    """

    message: MessageProxy
    result: Any = None
    exception: BaseException | None = None
    failed: bool = False


class _Crash(BaseException):
    """Raised where a process would have died."""


class _Recorder(Middleware):
    """Keeps what became of the message that has just been run."""

    def __init__(self) -> None:
        self.result: Any = None
        self.exception: BaseException | None = None
        self.failed = False

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self.result, self.exception, self.failed = None, None, False

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self.result, self.exception = result, exception

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        self.failed = True


class _Runner(WorkerThread):
    """A worker thread that is never started: the caller's thread does its work."""

    def protect(self) -> None:
        self._shield = self._own = InterruptShield()

    def release(self) -> None:
        self._own.remove()

    def crash(self, message: MessageProxy, thread: _Fetcher, at: CrashPoint, die: Callable[[], None]) -> None:
        """Take a message as far as ``at``; what its actor raises is how it failed, as in a worker."""
        consumer = thread.consumer_in_use
        self._shield.forget()
        try:
            outcome = self._attempt(message, consumer)
            if at is not CrashPoint.RAN:
                thread.die = die if at is CrashPoint.SETTLED else None
                with suppress(_Crash):
                    self._settle(message, consumer, thread, outcome)
                thread.flush()
        finally:
            consumer.finished(message)
            message.clear_exception()
        die()


class _Fetcher(ConsumerThread):
    """A consumer thread that is never started; it can die where it would acknowledge a message.

    Attributes:
      die: What comes of that, if it does.
    """

    die: Callable[[], None] | None = None

    def post_process_message(self, message: MessageProxy) -> None:
        if self.die is None:
            super().post_process_message(message)
            return
        # Before the settlement gives the message back by itself, as a process that lives does.
        self.die()
        raise _Crash


class Bench:
    """Runs a broker's messages in the calling thread, while it is entered. For one thread.

    Other workers must not run beside it: what they hold, it can't have.

    Parameters:
      broker: A `PostgresBroker` or a `StubBroker`.
    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._shelf = shelf_of(broker)
        self._worker = Worker(broker, worker_threads=1)
        self._recorder = _Recorder()
        self._work_queue = WorkQueue()
        self._runner = _Runner(
            broker=broker, consumers={}, work_queue=self._work_queue, worker_timeout=_LOOK_MS
        )
        self._consumers: dict[str, _Fetcher] = {}

    def step(self) -> Ran | None:
        """Run one message, the most urgent of those that are due; None if there is none."""
        thread, message = self._fetch()
        if thread is None or message is None:
            return None
        self._recorder.before_process_message(self.broker, message)
        thread.handle_message(message)
        try:
            self._work_queue.get(block=False)
        except Empty:  # nobody declares its actor
            self._recorder.failed = True
        else:
            self._runner.process_message(message, thread)
        thread.flush()
        seen = self._recorder
        return Ran(message, seen.result, seen.exception, seen.failed)

    def drain(self, *, delayed: bool = False, fail_fast: bool = True, limit: int = 1_000) -> list[Ran]:
        """Run messages until there are no more, also those that are sent meanwhile; return the runs.

        Parameters:
          delayed: Also run what is delayed, retries among it, in the order of its time and as if that had come.
          fail_fast: Raise what a message failed with that went to the dead letters.
          limit: The most runs; more is taken for an endless chain.
        """
        runs: list[Ran] = []
        while (run := self._step_or_advance(delayed=delayed)) is not None:
            runs.append(run)
            if run.failed and fail_fast:
                raise run.exception or AssertionError(f"Message {run.message} failed without an exception.")
            if len(runs) > limit:
                raise AssertionError(f"{limit} messages were run, the last was {run.message}, and more wait.")
        return runs

    def advance(self, by: int | timedelta) -> None:
        """Let the time of all delayed messages go forward; those that are due by then may run.

        Parameters:
          by: Milliseconds, or a timedelta.
        """
        self._shelf.advance(to_millis(by))

    def crash(self, at: CrashPoint = CrashPoint.RAN) -> MessageProxy:
        """Take the next message as far as ``at`` and die; what its actor raises is how it failed, as in a worker.

        It is delivered again, as after the loss of a process, unless its end was committed. What a transactional actor
        has written is rolled back with it, or committed with it. What an actor has done elsewhere stays done.

        Raises:
          LookupError: No message is due.
          ActorNotFound: Nobody declares its actor, so it can't run. It waits on.
        """
        thread, message = self._fetch()
        if thread is None or message is None:
            raise LookupError("There is no message to crash with.")
        die = self._shelf.loss_of(thread.consumer_in_use, message)
        if at is CrashPoint.FETCHED or not self._is_declared(message):
            die(charged=False)
        else:
            self._runner.crash(message, thread, at, partial(die, charged=True))
        self._close_consumers()  # a process that died has none
        if at is not CrashPoint.FETCHED:
            self.broker.get_actor(message.actor_name)
        return message

    def _is_declared(self, message: MessageProxy) -> bool:
        try:
            self.broker.get_actor(message.actor_name)
        except ActorNotFound:
            return False
        return True

    # -- fetching

    def _step_or_advance(self, *, delayed: bool) -> Ran | None:
        run = self.step()
        if run is None and delayed and (due_ms := self._shelf.next_due_ms()) is not None:
            self._shelf.advance(max(0.0, due_ms) + 1)
            run = self.step()
        return run

    def _fetch(self) -> tuple[_Fetcher | None, MessageProxy | None]:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            for thread in self._threads():
                message = next(thread.consumer_in_use)
                if message is not None:
                    return thread, message
            held = sum(self._shelf.held_or_ready(name) for name in self._queue_names())
            if not held:
                return None, None
            if time.monotonic() > deadline:
                raise AssertionError(f"{held} messages wait that can't be had: somebody else holds them.")

    def _queue_names(self) -> set[str]:
        return self.broker.get_declared_queues() - self.broker.get_declared_delay_queues()

    def _threads(self) -> list[_Fetcher]:
        names = self._queue_names()
        if not self._consumers:
            shared = self.broker.consume_many(names, prefetch=1, threads=1, timeout=_LOOK_MS)
            if shared is not None:
                self._consumers = dict.fromkeys(names, self._thread_of("*", shared))
        for name in names - self._consumers.keys():
            known = next((thread for thread in self._consumers.values() if thread.queue_name == "*"), None)
            if known is not None:
                known.consumer_in_use.subscribe(name)
            self._consumers[name] = known or self._thread_of(name, self.broker.consume(name, 1, _LOOK_MS))
        return list(dict.fromkeys(self._consumers.values()))

    def _thread_of(self, name: str, consumer: Consumer) -> _Fetcher:
        thread = _Fetcher(
            broker=self.broker,
            queue_name=name,
            prefetch=1,
            work_queue=self._work_queue,
            worker_timeout=_LOOK_MS,
        )
        thread.consumer = consumer
        return thread

    def _close_consumers(self) -> None:
        threads = list(dict.fromkeys(self._consumers.values()))
        self._consumers = {}
        for thread in threads:
            thread.close()

    def __enter__(self) -> Self:
        self.broker.emit_before("worker_boot", self._worker)
        self.broker.add_middleware(self._recorder)
        self._runner.protect()
        self.broker.emit_after("worker_boot", self._worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.broker.emit_before("worker_shutdown", self._worker)
        self._close_consumers()
        self._runner.release()
        self.broker.middleware.remove(self._recorder)
        self.broker.emit_after("worker_shutdown", self._worker)


def drain(broker: Broker, *, delayed: bool = False, fail_fast: bool = True, limit: int = 1_000) -> list[Ran]:
    """Run all messages of a broker in this thread; see `Bench.drain`."""
    with Bench(broker) as bench:
        return bench.drain(delayed=delayed, fail_fast=fail_fast, limit=limit)


class _Inline(Middleware):
    """Drains after each message that is sent, but for those that are sent by what it runs."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._running = False
        self._failed: list[Ran] = []

    def run(self) -> None:
        if self._running:
            return
        self._running = True
        try:
            self._failed += [run for run in self._bench.drain(fail_fast=False) if run.failed]
        finally:
            self._running = False

    def raise_first(self) -> None:
        for run in self._failed:
            raise run.exception or AssertionError(f"Message {run.message} failed without an exception.")

    def after_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
        if delay is None:
            self.run()


@contextmanager
def inline(broker: Broker) -> Iterator[Bench]:
    """Run each message within the call that sends it, in the same thread, with what it sends; delayed ones wait.

    What the first message failed with that failed for good is raised at the end of the block.
    """
    with Bench(broker) as bench:
        middleware = _Inline(bench)
        broker.add_middleware(middleware)
        try:
            yield bench
            middleware.run()  # what was sent in transactions that are committed by now
        finally:
            broker.middleware.remove(middleware)
    middleware.raise_first()
