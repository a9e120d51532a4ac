"""Runs the event loop of async actors for as long as a worker runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgqueue.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread
from pgqueue.logging import get_logger

from .middleware import Middleware

if TYPE_CHECKING:
    from pgqueue.broker import Broker
    from pgqueue.worker import Worker

__all__ = ["AsyncIO"]

#: Seconds that the event loop has to start.
START_TIMEOUT_S = 1.0


class AsyncIO(Middleware):
    """Starts the process's event-loop thread before a worker boots, and ends it after its shutdown."""

    def __init__(self) -> None:
        self.logger = get_logger(__name__, type(self))

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        """Start the event loop."""
        thread = EventLoopThread(self.logger)
        thread.start(timeout=START_TIMEOUT_S)
        set_event_loop_thread(thread)

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """End the event loop."""
        thread = get_event_loop_thread()
        if thread is not None:
            thread.stop()
            thread.join()
            set_event_loop_thread(None)
