"""Messages that belong together: pipelines run one after the other, groups side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, Union
from uuid import uuid4

from ._registry import get_broker
from .common import to_millis
from .errors import ResultMissing
from .rate_limits import Barrier

if TYPE_CHECKING:
    from .broker import Broker
    from .encoder import MessageData
    from .message import Message
    from .results.backend import ResultBackend

__all__ = ["group", "pipeline"]

Child: TypeAlias = Union["Message[Any]", "pipeline", "group"]


class pipeline:  # noqa: N801  # Dramatiq's name; it reads as a function
    """Messages of which each gets the result of the one before as its last argument.

    Parameters:
      children: Messages and pipelines, in order.  They are copied; pipelines are taken apart.
      broker: Where to run them; None means the process's broker.
    """

    def __init__(self, children: Iterable[Message[Any] | pipeline], *, broker: Broker | None = None) -> None:
        self.broker = broker or get_broker()
        self.messages: list[Message[Any]] = [
            message.copy()
            for child in children
            for message in (child.messages if isinstance(child, pipeline) else [child])
        ]
        # asdict() shares the options: the link that a message gets below shows up inside the one before it,
        # and so the first message carries the whole chain.
        for message, following in zip(self.messages, self.messages[1:], strict=False):
            message.options["pipe_target"] = following.asdict()

    def __len__(self) -> int:
        return len(self.messages)

    def __or__(self, other: Message[Any] | pipeline) -> pipeline:
        """Return a new pipeline that goes on with ``other``."""
        return type(self)([self, other], broker=self.broker)

    def __str__(self) -> str:
        return f"pipeline([{', '.join(map(str, self.messages))}])"

    @property
    def completed(self) -> bool:
        """Whether every step has a result; a failed step raises its ResultFailure."""
        return self.completed_count == len(self)

    @property
    def completed_count(self) -> int:
        """How many steps have a result; a failed step raises its ResultFailure."""
        backend = self.broker.get_results_backend()
        return sum(_has_result(message, backend) for message in self.messages)

    def run(self, *, delay: int | timedelta | None = None) -> pipeline:
        """Enqueue the first message; the others follow by themselves.

        Parameters:
          delay: Milliseconds to wait at least; the message's own ``delay`` option may ask for more.
        """
        for first in self.messages[:1]:
            self.broker.enqueue(first, delay=_longer(delay, first.options.get("delay")))
        return self

    async def run_async(self, *, delay: int | timedelta | None = None) -> pipeline:
        """As :meth:`run`, for a coroutine: its event loop goes on meanwhile."""
        for first in self.messages[:1]:
            await self.broker.enqueue_async(first, delay=_longer(delay, first.options.get("delay")))
        return self

    def get_result(self, *, block: bool = False, timeout: int | None = None) -> Any:
        """Return the result of the last message; parameters and errors as for a message's."""
        backend = self.broker.get_results_backend()
        return self.messages[-1].get_result(backend=backend, block=block, timeout=timeout)

    async def get_result_async(self, *, block: bool = False, timeout: int | None = None) -> Any:
        """As :meth:`get_result`, for a coroutine."""
        backend = self.broker.get_results_backend()
        return await self.messages[-1].get_result_async(backend=backend, block=block, timeout=timeout)

    def get_results(self, *, block: bool = False, timeout: int | None = None) -> Iterator[Any]:
        """Yield the result of every message in turn.

        Parameters:
          timeout: Milliseconds for all of them together; None or 0 means 10 seconds for each.
        """
        backend = self.broker.get_results_backend()
        deadline = _Deadline(timeout)
        for message in self.messages:
            yield message.get_result(backend=backend, block=block, timeout=deadline.remaining())


class group:  # noqa: N801  # Dramatiq's name; it reads as a function
    """Messages, pipelines and groups that run side by side.

    Parameters:
      children: What to run; not copied.
      broker: Where to run them; None means the process's broker.
    """

    def __init__(self, children: Iterable[Child], *, broker: Broker | None = None) -> None:
        self.children = list(children)
        self.broker = broker or get_broker()
        self.completion_callbacks: list[MessageData] = []

    def __len__(self) -> int:
        return len(self.children)

    def __str__(self) -> str:
        return f"group([{', '.join(map(str, self.children))}])"

    @property
    def completed(self) -> bool:
        """Whether every child has a result; a failed child raises its ResultFailure."""
        return self.completed_count == len(self)

    @property
    def completed_count(self) -> int:
        """How many children have a result, in any order; a failed child raises its ResultFailure."""
        return sum(self._is_completed(child) for child in self.children)

    def add_completion_callback(self, message: Message[Any]) -> None:
        """Enqueue ``message`` once all children have succeeded; needs the GroupCallbacks middleware."""
        self.completion_callbacks.append(message.asdict())

    def run(self, *, delay: int | timedelta | None = None) -> group:
        """Enqueue the children; none of them, if one can't be encoded.

        Parameters:
          delay: Milliseconds until they run.

        Raises:
          RuntimeError: There are completion callbacks, but no GroupCallbacks middleware.
          NotImplementedError: There are completion callbacks, and one of the children is a group.
        """
        delay = None if delay is None else to_millis(delay)
        barrier, children = _prepared(self)
        if barrier is not None:
            barrier.create_with_sends(len(children))
        for composed, messages in _neighbours(children):
            if composed is not None:
                composed.run(delay=delay)
            else:
                self.broker.enqueue_many(messages, delay=delay)
        return self

    async def run_async(self, *, delay: int | timedelta | None = None) -> group:
        """As :meth:`run`, for a coroutine: its event loop goes on meanwhile."""
        delay = None if delay is None else to_millis(delay)
        barrier, children = _prepared(self)
        if barrier is not None:
            await barrier.create_with_sends_async(len(children))
        for composed, messages in _neighbours(children):
            if composed is not None:
                await composed.run_async(delay=delay)
            else:
                await self.broker.enqueue_many_async(messages, delay=delay)
        return self

    def get_results(self, *, block: bool = False, timeout: int | None = None) -> Iterator[Any]:
        """Yield the result of every child in turn: a list for a group, the last result for a pipeline.

        Parameters:
          timeout: Milliseconds for all of them together; None or 0 means 10 seconds for each.
        """
        deadline = _Deadline(timeout)
        for child in self.children:
            yield self._result_of(child, block=block, timeout=deadline.remaining())

    def wait(self, *, timeout: int | None = None) -> None:
        """Wait until every child has a result.

        Parameters:
          timeout: Milliseconds, as for :meth:`get_results`.

        Raises:
          ResultTimeout: It took longer.
          ResultFailure: A child failed.
        """
        for _ in self.get_results(block=True, timeout=timeout):
            pass

    async def results_async(self, *, timeout: int | None = None) -> AsyncIterator[Any]:
        """Yield the results of the children as they come: ``async for result in group.results_async():``.

        A child's result is as for :meth:`get_results`.

        Parameters:
          timeout: Milliseconds for all of them together; None or 0 means 10 seconds.

        Raises:
          ResultTimeout: A child's result did not come in time.
          ResultFailure: A child failed.
        """
        waits = [asyncio.ensure_future(wait) for wait in _result_waits(self, timeout=timeout or None)]
        try:
            for result in asyncio.as_completed(waits):
                yield await result
        finally:
            for wait in waits:
                wait.cancel()
            # All of them are awaited, so that what others failed with is not reported as unseen.
            await asyncio.gather(*waits, return_exceptions=True)

    async def wait_async(self, *, timeout: int | None = None) -> None:
        """As :meth:`wait`, for a coroutine; parameters as for :meth:`results_async`."""
        async for _ in self.results_async(timeout=timeout):
            pass

    def _is_completed(self, child: Child) -> bool:
        if isinstance(child, group):
            return child.completed
        if isinstance(child, pipeline):
            return _has_result(child.messages[-1], child.broker.get_results_backend())
        return _has_result(child, self.broker.get_results_backend())

    def _result_of(self, child: Child, *, block: bool, timeout: int | None) -> Any:
        if isinstance(child, group):
            return list(child.get_results(block=block, timeout=timeout))
        if isinstance(child, pipeline):
            return child.get_result(block=block, timeout=timeout)
        backend = self.broker.get_results_backend()
        return child.get_result(backend=backend, block=block, timeout=timeout)


def _result_waits(composed: group, *, timeout: int | None) -> list[Coroutine[Any, Any, Any]]:
    """A coroutine for each child that waits for its result; times and errors as for `group.results_async`."""
    return [_result_of_async(composed.broker, child, timeout=timeout) for child in composed.children]


async def _result_of_async(broker: Broker, child: Child, *, timeout: int | None) -> Any:
    if isinstance(child, group):
        return list(await asyncio.gather(*_result_waits(child, timeout=timeout)))
    if isinstance(child, pipeline):
        return await child.get_result_async(block=True, timeout=timeout)
    backend = broker.get_results_backend()
    return await child.get_result_async(backend=backend, block=True, timeout=timeout)


def _prepared(composed: group) -> tuple[Barrier | None, list[Child]]:
    """Its children as they are sent, and what counts them; an error if a single one of them can't be."""
    barrier, children = _counted(composed)
    # Without callbacks, messages alone are one call of the broker, which sends all or none by itself.
    if barrier is not None or any(isinstance(child, (group, pipeline)) for child in children):
        _check(composed.broker, children)
    return barrier, children


def _check(broker: Broker, children: Iterable[Child]) -> None:
    """Raise what sending the children of a group would raise because of what is in them, and send none."""
    for composed, messages in _neighbours(children):
        if isinstance(composed, group):
            _check(composed.broker, _counted(composed)[1])
        elif composed is not None:
            # Each step carries those behind it: from the last on, the error names the one that it is about.
            composed.broker.check_messages(composed.messages[::-1])
        else:
            broker.check_messages(messages)


def _counted(composed: group) -> tuple[Barrier | None, list[Child]]:
    """Its children, with its callbacks in their options if there are any, and what counts them then."""
    if not composed.completion_callbacks:
        return None, composed.children
    middleware = _callbacks_middleware(composed.broker)
    run_id = str(uuid4())
    options = {
        "group_completion_uuid": run_id,
        "group_completion_callbacks": composed.completion_callbacks,
    }
    children = [_with_options(child, options) for child in composed.children]
    return Barrier(middleware.rate_limiter_backend, run_id, ttl=middleware.barrier_ttl), children


def _callbacks_middleware(broker: Broker) -> Any:
    # By its attributes: the class lives in a layer above this one.
    for middleware in broker.middleware:
        if hasattr(middleware, "rate_limiter_backend") and hasattr(middleware, "barrier_ttl"):
            return middleware
    raise RuntimeError(
        "Completion callbacks of a group need the GroupCallbacks middleware: "
        "broker.add_middleware(GroupCallbacks(rate_limiter_backend))."
    )


def _with_options(child: Child, options: MessageData) -> Child:
    if isinstance(child, group):
        raise NotImplementedError("A group with completion callbacks can't contain groups.")
    if isinstance(child, pipeline):
        *others, last = child.messages
        return pipeline([*others, last.copy(options=options)], broker=child.broker)
    return child.copy(options=options)


def _neighbours(children: Iterable[Child]) -> Iterator[tuple[group | pipeline | None, list[Message[Any]]]]:
    """The children in order, messages that are neighbours together: a broker may send them in one round trip."""
    messages: list[Message[Any]] = []
    for child in children:
        if not isinstance(child, (group, pipeline)):
            messages.append(child)
            continue
        if messages:
            yield None, messages
            messages = []
        yield child, []
    if messages:
        yield None, messages


def _has_result(message: Message[Any], backend: ResultBackend) -> bool:
    try:
        message.get_result(backend=backend)
    except ResultMissing:
        return False
    return True


def _longer(*delays: int | timedelta | None) -> int | None:
    """Return the longest delay in milliseconds, None when there is none to speak of."""
    return max((to_millis(delay) for delay in delays if delay), default=0) or None


class _Deadline:
    """Milliseconds that several waits share; without a limit, each has its own."""

    def __init__(self, timeout: int | None) -> None:
        self._ends_at = time.monotonic() + timeout / 1000 if timeout else None

    def remaining(self) -> int | None:
        if self._ends_at is None:
            return None
        # At least 1: a backend might take 0 for "the default".
        return max(1, int((self._ends_at - time.monotonic()) * 1000))
