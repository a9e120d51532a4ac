"""Where Dramatiq programs look for the means of interrupting threads; they live in `pgqueue.threading`."""

from pgqueue.threading import (
    Interrupt,
    current_platform,
    is_gevent_active,
    raise_thread_exception,
    supported_platforms,
)

__all__ = [
    "Interrupt",
    "current_platform",
    "is_gevent_active",
    "raise_thread_exception",
    "supported_platforms",
]
