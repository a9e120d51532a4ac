"""Exceptions that one thread raises in another."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock, get_ident
from typing import Any

from .logging import own_logger

__all__ = [
    "Cancelled",
    "Interrupt",
    "InterruptShield",
    "current_platform",
    "is_gevent_active",
    "raise_thread_exception",
    "supported_platforms",
    "uninterrupted",
    "wake_when_interrupted",
]

logger = own_logger(__name__)

#: The Python implementation that is running.
current_platform = platform.python_implementation()

#: The implementations on which a thread can be interrupted.
supported_platforms = {"CPython"}


class Interrupt(BaseException):
    """The root of the exceptions that stop a running actor.

    Not an Exception, so that an actor's ``except Exception`` does not swallow it.
    """


class Cancelled(Interrupt):
    """Raised in a running actor whose message was cancelled, if its option ``cancellable`` allows it."""


def is_gevent_active() -> bool:
    """Return whether gevent has replaced this process's threads."""
    # Whoever patched has imported the module; importing it here would make gevent a dependency.
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def raise_thread_exception(thread_id: int, exception: type[BaseException] | BaseException) -> None:
    """Raise an exception in another thread, as soon as that thread runs Python code again.

    A thread that waits in a system call or in C code gets it when the call returns.  Under gevent threads are
    greenlets, and one gets it at once: it waits, or else it would not be another one that runs.

    Parameters:
      thread_id: The thread's ``ident``.  One that has ended is logged, not an error: it finished in time.
    """
    if current_platform not in supported_platforms:
        logger.critical("Threads can't be interrupted on %s: %s is not raised.", current_platform, exception)
        return
    shield = _shields.get(thread_id)
    if shield is None:
        _set_exception(thread_id, exception)
    else:
        shield.take(exception)


class InterruptShield:
    """Keeps exceptions of `raise_thread_exception` from a thread but for the spans in which it is lowered.

    An interrupt is meant for the code of an actor; landing in what a worker does around it, it would tear a half
    finished acknowledgement. One that comes while the shield is up is kept: it is raised when the shield is
    lowered, or forgotten when the thread says that it has come too late.  Made, and but for `take` used, by the
    thread that it protects.
    """

    def __init__(self) -> None:
        self._thread_id = get_ident()
        self._lock = Lock()
        self._up = True
        self._kept: type[BaseException] | BaseException | None = None
        self._greenlet: Any = import_module("gevent").getcurrent() if is_gevent_active() else None
        self._wake: Callable[[], None] | None = None
        _shields[self._thread_id] = self

    def take(self, exception: type[BaseException] | BaseException) -> None:
        """Keep the exception if the shield is up, raise it in the thread if not; called by other threads."""
        # Under the lock the exception is on its way before `raise_` returns, so that none is later than that.
        with self._lock:
            if self._up:
                self._kept = exception
            elif self._greenlet is not None:
                _call_in_hub(self._throw, exception)
            else:
                _set_exception(self._thread_id, exception)
                if self._wake is not None:
                    self._wake()

    def _throw(self, exception: type[BaseException] | BaseException) -> None:
        """Raise the exception in the greenlet, which waits while gevent's hub calls this."""
        # It may have run on, and out of its actor, since the call was asked for.
        if self._up:
            self._kept = exception
        else:
            self._greenlet.throw(exception)

    def lower(self) -> None:
        """Let exceptions through from here on, beginning with the one that was kept."""
        with self._lock:
            self._up = False
            kept, self._kept = self._kept, None
        if kept is not None:
            raise kept

    def raise_(self) -> None:
        """Let no exception through that comes later; one that is already on its way lands in here.

        It may land before the shield is up, so who catches one calls again.
        """
        with self._lock:
            self._up = True

    def wake_by(self, wake: Callable[[], None] | None) -> None:
        """Call ``wake`` whenever an exception is on its way to the thread, which may be waiting in C code."""
        with self._lock:
            self._wake = wake

    @property
    def is_up(self) -> bool:
        """Whether exceptions are kept."""
        return self._up

    def forget(self) -> None:
        """Drop the exception that was kept: what it was meant to stop is over."""
        self._kept = None

    def remove(self) -> None:
        """Let everything through again, for the thread is about to end."""
        _shields.pop(self._thread_id, None)


#: The shields of the threads that have one, by thread id.
_shields: dict[int, InterruptShield] = {}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let no exception of `raise_thread_exception` into the block; one that comes is raised after it."""
    shield = _shields.get(get_ident())
    if shield is None or shield.is_up:
        yield
        return
    try:
        shield.raise_()
        yield
    finally:
        shield.lower()


@contextmanager
def wake_when_interrupted(wake: Callable[[], None]) -> Iterator[None]:
    """Call ``wake`` if this thread is interrupted inside the block, to end what it waits for in C code.

    Parameters:
      wake: Called in the interrupting thread, which must not be kept.
    """
    shield = _shields.get(get_ident())
    if shield is None:
        yield
        return
    shield.wake_by(wake)
    try:
        yield
    finally:
        shield.wake_by(None)


def _set_exception(thread_id: int, exception: type[BaseException] | BaseException) -> None:
    if is_gevent_active():
        _throw_into_greenlet(thread_id, exception)
        return
    target = ctypes.c_ulong(thread_id)
    reached = ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(exception))
    if reached == 0:
        logger.critical("Failed to set exception (%s) in thread %r.", _name_of(exception), thread_id)
    elif reached > 1:
        # CPython's documentation: the call has then got into trouble, and is undone like this.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(target, None)
        logger.critical(
            "Could not raise %s in thread %r: several threads have that id.", exception, thread_id
        )


def _name_of(exception: type[BaseException] | BaseException) -> str:
    return getattr(exception, "__name__", repr(exception))


def _throw_into_greenlet(thread_id: int, exception: type[BaseException] | BaseException) -> None:
    """Raise an exception in a greenlet that has no shield; gevent's thread ids are the addresses of greenlets."""
    kind = import_module("greenlet").greenlet
    found = [each for each in gc.get_objects() if id(each) == thread_id and isinstance(each, kind)]
    if found and not found[0].dead:
        _call_in_hub(found[0].throw, exception)
    else:
        logger.critical("Failed to set exception (%s) in thread %r.", _name_of(exception), thread_id)


def _call_in_hub(call: Any, exception: type[BaseException] | BaseException) -> None:
    """Call ``call(exception)`` soon, in the greenlet from which gevent resumes the others."""
    import_module("gevent").get_hub().loop.run_callback(call, exception)
