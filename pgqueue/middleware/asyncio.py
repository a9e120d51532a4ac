"""Runs the event loop of async actors for as long as a worker runs."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from pgqueue.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread
from pgqueue.logging import own_logger

from .middleware import Middleware

if TYPE_CHECKING:
    from pgqueue.broker import Broker
    from pgqueue.worker import Worker

    from ..logging import OwnLogger

__all__ = ["AsyncIO"]

#: Seconds that the event loop has to start.
START_TIMEOUT_S = 1.0


class WorkersLoopThread(EventLoopThread):
    """The event loop of this process's workers, which ends with the last of them."""

    def __init__(self, logger: OwnLogger) -> None:
        super().__init__(logger)
        self.workers: set[int] = set()


#: Held by a worker that boots or shuts down: another one may do so in another thread.
_changing = Lock()


class AsyncIO(Middleware):
    """Starts the process's event-loop thread before a worker boots, and ends it after the last one's shutdown."""

    def __init__(self) -> None:
        self.logger = own_logger(__name__, type(self))

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Start the event loop."""
        with _changing:
            thread = get_event_loop_thread()
            # One that is not alive is from before a fork.
            if not isinstance(thread, WorkersLoopThread) or not thread.is_alive():
                thread = WorkersLoopThread(self.logger)
                thread.start(timeout=START_TIMEOUT_S)
                set_event_loop_thread(thread)
            thread.workers.add(id(worker))

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """End the event loop."""
        with _changing:
            thread = get_event_loop_thread()
            if isinstance(thread, WorkersLoopThread):
                thread.workers.discard(id(worker))
                if thread.workers:
                    return
            if thread is not None:
                thread.stop()
                thread.join()
                set_event_loop_thread(None)
