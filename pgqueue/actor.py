"""Functions that can be sent for: Actor, and the decorator that makes one."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from ._registry import get_broker
from .asyncio import async_to_sync
from .common import to_millis
from .logging import get_logger, log_safely
from .message import Message

if TYPE_CHECKING:
    from .broker import Broker

__all__ = ["Actor", "actor"]

P = ParamSpec("P")
R = TypeVar("R")

#: What a queue may be called.
_QUEUE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9._-]*")


class Actor(Generic[P, R]):
    """A function that runs in a worker when a message asks for it.

    Usually made by :func:`actor`; making one declares it on its broker.

    Parameters:
      fn: The function; a coroutine function runs on the process's event loop thread.
      broker: The broker that its messages go to.
      actor_name: Unique on the broker.
      queue_name: The queue that its messages go to.
      priority: Lower numbers run first.
      options: What middleware and the broker know about it.

    Raises:
      ValueError: The broker has an actor of that name.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        broker: Broker,
        actor_name: str,
        queue_name: str,
        priority: int,
        options: dict[str, Any],
    ) -> None:
        if actor_name in broker.actors:
            raise ValueError(f"An actor named {actor_name!r} is already registered.")
        self.logger = get_logger(getattr(fn, "__module__", None) or "_", actor_name)
        self.fn: Callable[P, R] = async_to_sync(fn) if iscoroutinefunction(fn) else fn
        self.broker = broker
        self.actor_name = actor_name
        self.queue_name = queue_name
        self.priority = priority
        self.options = options
        broker.declare_actor(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function here and now."""
        if not self.logger.isEnabledFor(logging.DEBUG):
            return self.fn(*args, **kwargs)
        log_safely(self.logger, logging.DEBUG, "Called with args=%r kwargs=%r.", args, kwargs)
        started = time.perf_counter()
        try:
            return self.fn(*args, **kwargs)
        finally:
            log_safely(self.logger, logging.DEBUG, "Took %.02f ms.", (time.perf_counter() - started) * 1000)

    def message(self, *args: P.args, **kwargs: P.kwargs) -> Message[R]:
        """Return a message that asks for a run with these arguments, without sending it."""
        return self.message_with_options(args=args, kwargs=kwargs)

    def message_with_options(
        self,
        *,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> Message[R]:
        """Return a message with options, without sending it.

        Parameters:
          args: Positional arguments for the actor.
          kwargs: Keyword arguments for the actor.
          options: Kept with the message, unchecked.  ``on_success`` and ``on_failure`` may be actors;
            ``delay`` is heeded by pipelines.
        """
        for name in ("on_success", "on_failure"):
            if name in options:
                options[name] = _callback_name(name, options[name])
        if isinstance(options.get("delay"), timedelta):
            options["delay"] = to_millis(options["delay"])
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise TypeError(f"Actor {self.actor_name!r} takes keyword arguments by name, not as {kwargs!r}.")
        return Message(
            queue_name=self.queue_name,
            actor_name=self.actor_name,
            args=tuple(args),
            kwargs={} if kwargs is None else kwargs,
            options=options,
        )

    def send(self, *args: P.args, **kwargs: P.kwargs) -> Message[R]:
        """Ask for a run with these arguments; return the message as it was sent."""
        return self.send_with_options(args=args, kwargs=kwargs)

    def send_with_options(
        self,
        *,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        delay: int | timedelta | None = None,
        **options: Any,
    ) -> Message[R]:
        """Ask for a run, with options; return the message as it was sent.

        Parameters:
          args: Positional arguments for the actor.
          kwargs: Keyword arguments for the actor.
          delay: Not before that many milliseconds are over.
          options: As for :meth:`message_with_options`.
        """
        message = self.message_with_options(args=args, kwargs=kwargs, **options)
        return self.broker.enqueue(message, delay=None if delay is None else to_millis(delay))

    def send_many(
        self, calls: Iterable[tuple[Any, ...] | list[Any]], *, delay: int | timedelta | None = None
    ) -> list[Message[R]]:
        """Ask for many runs: all of them or none, in one round trip, if the broker can do that.

        Parameters:
          calls: The positional arguments of each run.
          delay: Not before that many milliseconds are over.
        """
        messages = [self.message_with_options(args=_checked_arguments(args)) for args in calls]
        return self.broker.enqueue_many(messages, delay=None if delay is None else to_millis(delay))

    async def send_async(self, *args: P.args, **kwargs: P.kwargs) -> Message[R]:
        """As :meth:`send`, for a coroutine: its event loop goes on meanwhile."""
        return await self.send_with_options_async(args=args, kwargs=kwargs)

    async def send_with_options_async(
        self,
        *,
        args: Iterable[Any] = (),
        kwargs: dict[str, Any] | None = None,
        delay: int | timedelta | None = None,
        **options: Any,
    ) -> Message[R]:
        """As :meth:`send_with_options`, for a coroutine."""
        message = self.message_with_options(args=args, kwargs=kwargs, **options)
        return await self.broker.enqueue_async(message, delay=None if delay is None else to_millis(delay))

    async def send_many_async(
        self, calls: Iterable[tuple[Any, ...] | list[Any]], *, delay: int | timedelta | None = None
    ) -> list[Message[R]]:
        """As :meth:`send_many`, for a coroutine."""
        messages = [self.message_with_options(args=_checked_arguments(args)) for args in calls]
        return await self.broker.enqueue_many_async(
            messages, delay=None if delay is None else to_millis(delay)
        )

    def __repr__(self) -> str:
        return f"Actor({self.fn!r}, queue_name={self.queue_name!r}, actor_name={self.actor_name!r})"

    def __str__(self) -> str:
        return f"Actor({self.actor_name})"


def _callback_name(option: str, value: Any) -> str | None:
    if isinstance(value, Actor):
        return value.actor_name
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{option} must be an Actor or the name of one, not {value!r}.")


def _checked_arguments(args: Any) -> tuple[Any, ...] | list[Any]:
    # A string is iterable, too, and would be sent letter by letter.
    if isinstance(args, (tuple, list)):
        return args
    raise TypeError(f"send_many() takes the arguments of each run as a tuple, not {args!r}.")


class ActorDecorator(Protocol):
    """What :func:`actor` returns when it is given options."""

    @overload
    def __call__(self, fn: Callable[P, Awaitable[R]]) -> Actor[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R]) -> Actor[P, R]: ...


@overload
def actor(fn: Callable[P, Awaitable[R]]) -> Actor[P, R]: ...
@overload
def actor(fn: Callable[P, R]) -> Actor[P, R]: ...
@overload
def actor(
    *,
    actor_class: Callable[..., Actor[Any, Any]] = Actor,
    actor_name: str | None = None,
    queue_name: str = "default",
    priority: int = 0,
    broker: Broker | None = None,
    transactional: bool | None = None,
    **options: Any,
) -> ActorDecorator: ...
def actor(
    fn: Callable[..., Any] | None = None,
    *,
    actor_class: Callable[..., Actor[Any, Any]] = Actor,
    actor_name: str | None = None,
    queue_name: str = "default",
    priority: int = 0,
    broker: Broker | None = None,
    transactional: bool | None = None,
    **options: Any,
) -> Any:
    """Make a function an actor; used bare, or with keywords.

    Parameters:
      actor_class: What to make it with: called like :class:`Actor`.
      actor_name: Unique on the broker; None means the function's name.
      queue_name: The queue that its messages go to: letters, digits, ``.``, ``_`` and ``-``, no digit first.
      priority: Lower numbers run first.
      broker: None means the process's broker as it is now.
      transactional: Run it inside the transaction that acknowledges its message, see
        :func:`pgqueue.current_transaction`; for brokers that keep messages in a database.
      options: Those of the broker and its middleware.

    Raises:
      ValueError: The queue can't be called so, the broker has no such option, or it has an actor of that name.
      TypeError: It is no function, or an option is nothing that its middleware could go by.
    """

    def decorate(fn: Callable[..., Any]) -> Actor[Any, Any]:
        name = _check_function(fn, actor_name)
        _check_queue_name(queue_name)
        home = broker or get_broker()
        _check_options(home, options)
        return actor_class(
            fn,
            broker=home,
            actor_name=name,
            queue_name=queue_name,
            priority=priority,
            options={**options, **_transactional_option(home, name, transactional=transactional)},
        )

    return decorate if fn is None else decorate(fn)


def _check_queue_name(queue_name: str) -> None:
    if not isinstance(queue_name, str) or not _QUEUE_NAME.fullmatch(queue_name):
        raise ValueError(
            f"A queue can't be called {queue_name!r}: a name starts with a letter or an underscore, and goes "
            "on with letters, digits, dots, underscores and hyphens."
        )


def _transactional_option(broker: Broker, actor_name: str, *, transactional: bool | None) -> dict[str, Any]:
    if "transactional" in broker.own_actor_options:
        return {} if transactional is None else {"transactional": transactional}
    if transactional:
        raise ValueError(
            f"Actor {actor_name!r} can't be transactional on a {type(broker).__name__}, which has no transaction to "
            "run it in. Declare it on a PostgresBroker (in tests one on `embedded:` will do), or leave "
            "`transactional=True` out."
        )
    return {}


def _check_options(broker: Broker, options: dict[str, Any]) -> None:
    unknown = sorted(options.keys() - broker.actor_options - broker.own_actor_options)
    if unknown:
        raise ValueError(
            f"The broker knows no actor option {', '.join(map(repr, unknown))}. "
            "Is the middleware that brings it missing?"
        )
    for middleware in broker.middleware:
        check = getattr(middleware, "check_actor_options", None)
        if check is not None:
            check(options)


def _check_function(fn: Any, actor_name: str | None) -> str:
    """The name of the actor that a function will be."""
    if not callable(fn):
        hint = f" A name is given as @actor(actor_name={fn!r})." if isinstance(fn, str) else ""
        raise TypeError(f"@actor makes a function an actor, not {fn!r}; options are given by name.{hint}")
    name = actor_name or getattr(fn, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"{fn!r} has no name that its actor could have: give it one, @actor(actor_name=...).")
    return name
