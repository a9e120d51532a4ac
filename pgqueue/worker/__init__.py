"""Workers: the threads that fetch and run messages, and the constants that tune them.

The constants are read when they are needed, from here: a program may assign ``pgqueue.worker.QUEUE_PREFETCH``.
"""

from .consumer import ConsumerThread
from .executor import WorkerThread
from .settings import (
    ACK_RETRY_DELAY,
    CONSUMER_RESTART_DELAY,
    CONSUMER_RESTART_DELAY_SECS,
    DELAY_QUEUE_PREFETCH,
    POST_PROCESS_MESSAGE_RETRY_DELAY_SECS,
    QUEUE_PREFETCH,
    WORKER_TIMEOUT,
)
from .worker import Worker

__all__ = [
    "ACK_RETRY_DELAY",
    "CONSUMER_RESTART_DELAY",
    "CONSUMER_RESTART_DELAY_SECS",
    "DELAY_QUEUE_PREFETCH",
    "POST_PROCESS_MESSAGE_RETRY_DELAY_SECS",
    "QUEUE_PREFETCH",
    "WORKER_TIMEOUT",
    "ConsumerThread",
    "Worker",
    "WorkerThread",
]

#: What the thread classes were called before they were public.
_ConsumerThread = ConsumerThread
_WorkerThread = WorkerThread
