"""Coroutines for threads: one event loop in a thread of its own, shared by the whole process."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, ParamSpec, TypeVar

from . import _forks
from .threading import Interrupt

__all__ = ["EventLoopThread", "async_to_sync", "get_event_loop_thread", "set_event_loop_thread"]

P = ParamSpec("P")
R = TypeVar("R")

#: How many seconds a coroutine has for its clean-up when its actor was interrupted.
CLEANUP_TIMEOUT_S = 1.0

_event_loop_thread: EventLoopThread | None = None


def get_event_loop_thread() -> EventLoopThread | None:
    """Return the process's event loop thread, if there is one."""
    return _event_loop_thread


def set_event_loop_thread(thread: EventLoopThread | None) -> None:
    """Make a thread the process's event loop thread."""
    global _event_loop_thread  # noqa: PLW0603  # one of the three places for global state (house rule 28)
    _event_loop_thread = thread


def async_to_sync(async_fn: Callable[P, Awaitable[R]]) -> Callable[P, R]:
    """Return a function that runs a coroutine function on the event loop thread and waits for it.

    Called without that thread, it raises RuntimeError.
    """

    @functools.wraps(async_fn)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        event_loop_thread = get_event_loop_thread()
        if event_loop_thread is None:
            raise RuntimeError(
                "Async actors need the event loop thread: add the AsyncIO middleware to the broker, or outside "
                "workers start an EventLoopThread and pass it to set_event_loop_thread()."
            )
        return event_loop_thread.run_coroutine(async_fn(*args, **kwargs))

    return wrapper


class EventLoopThread(threading.Thread):
    """A thread that runs an event loop.

    Parameters:
      logger: Told when the thread starts and stops.
      interrupt_check_ival: Every how many seconds a thread that waits for a coroutine looks up, so that an
        Interrupt can reach it.
    """

    def __init__(self, logger: logging.Logger, interrupt_check_ival: float = 0.1) -> None:
        super().__init__(name="EventLoopThread", daemon=True)
        self.logger = logger
        self.interrupt_check_ival = interrupt_check_ival
        self.loop = asyncio.new_event_loop()
        self._running = threading.Event()
        _forks.renew(self._after_fork)

    def _after_fork(self) -> None:
        """In a process that one of the coroutines has forked, run none of the others."""
        if threading.get_ident() == self.ident:
            self.loop.stop()
            # It stops after this round, in which others may be due. Loops that keep no such list run them.
            for handle in tuple(getattr(self.loop, "_ready", ())):
                handle.cancel()

    def run(self) -> None:
        """Run the loop until :meth:`stop`; then cancel what still runs on it."""
        self.logger.info("Event loop is starting up.")
        asyncio.set_event_loop(self.loop)
        _forks.serve_here()
        depth = _forks.depth
        self.loop.call_soon(self._running.set)
        try:
            self.loop.run_forever()
            _forks.leave_if_forked(depth)
            self.loop.run_until_complete(_cancel_all())
        finally:
            self._running.clear()
            self.loop.close()
            self.logger.info("Event loop is shut down.")

    def start(self, *, timeout: float | None = None) -> None:
        """Start the thread and wait until its loop runs.

        Parameters:
          timeout: Seconds; None waits for ever.

        Raises:
          RuntimeError: The loop does not run by then.
        """
        super().start()
        if not self._running.wait(timeout):
            raise RuntimeError(f"Event loop failed to start within {timeout} seconds.")

    def stop(self) -> None:
        """Ask the loop to stop; join the thread to wait for it."""
        if self.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)

    def run_coroutine(self, coro: Coroutine[Any, Any, R] | Awaitable[R]) -> R:
        """Run a coroutine on the loop, wait for it, and return its result.

        An Interrupt that reaches the waiting thread cancels the coroutine, and is raised after its clean-up.

        Raises:
          RuntimeError: The loop does not run, or the coroutine did not clean up within a second.
        """
        if not self._running.is_set():
            _discard(coro)
            raise RuntimeError("The event loop is not running.")
        task = _Task(coro)
        try:
            self._wait_for(task)
            return task.result()
        finally:
            # What was raised holds this frame; the frame must not hold what was raised.
            del task, coro

    def _wait_for(self, task: _Task[Any]) -> None:
        try:
            self.loop.call_soon_threadsafe(task.start)
            # A lock can't be interrupted, so the wait is cut into slices.
            while not task.ended.wait(self.interrupt_check_ival):
                if not self.is_alive():
                    raise RuntimeError("The event loop was stopped.")
        except Interrupt:
            self.loop.call_soon_threadsafe(task.cancel)
            if not task.ended.wait(CLEANUP_TIMEOUT_S):
                raise RuntimeError(
                    f"An interrupted coroutine did not end within {CLEANUP_TIMEOUT_S} s of its cancellation."
                ) from None
            raise


class _Task(Generic[R]):
    """A coroutine on its way through the loop: started there, awaited by another thread."""

    def __init__(self, coro: Awaitable[R]) -> None:
        self.ended = threading.Event()
        self._coro = coro
        self._task: asyncio.Task[None] | None = None
        self._results: list[R] = []
        self._error: BaseException | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            return
        # The Interrupt came before the loop had heard of the coroutine.
        _discard(self._coro)
        self.ended.set()

    def result(self) -> R:
        if self._error is None:
            return self._results[0]
        # Handed over, not shared: its frames hold this object.
        error, self._error = self._error, None
        try:
            raise error
        finally:
            del error

    async def _run(self) -> None:
        # Also a SystemExit is the actor's failure.  Left to the loop, it would end the loop.
        depth = _forks.depth
        try:
            self._results.append(await self._coro)
            _forks.leave_if_forked(depth)
        except BaseException as error:  # noqa: BLE001
            _forks.leave_if_forked(depth, error)
            self._error = error

    def _end(self, task: asyncio.Task[None]) -> None:
        # Cancelled before its first step, a task runs nothing of its coroutine.
        if task.cancelled():
            self._error = asyncio.CancelledError()
            _discard(self._coro)
        self.ended.set()


def _discard(coro: Awaitable[Any]) -> None:
    """Close a coroutine that will not be awaited, so that Python does not warn."""
    if isinstance(coro, Coroutine):
        coro.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
