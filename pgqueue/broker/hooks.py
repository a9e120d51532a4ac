"""Which middleware to call on a signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pgqueue.middleware import Middleware

__all__ = ["HookTable"]


class HookTable:
    """Remembers which middleware listens to which hook.

    Most middleware defines a few of the 24 hooks, and calling the empty rest would cost more than everything
    else that happens to a message between two brokers' calls.
    """

    def __init__(self) -> None:
        self._middleware: list[Middleware] = []
        self._assigned_hooks = 0
        self._listeners: dict[str, tuple[Middleware, ...]] = {}

    def listeners(self, middleware: list[Middleware], hook: str) -> tuple[Middleware, ...]:
        """Return the middleware that defines a hook, in the order of calling."""
        # Programs change the list in place as well as through add_middleware, so it is compared (by
        # identity, item by item: 50 ns).
        if middleware != self._middleware or Middleware.assigned_hooks != self._assigned_hooks:
            self._forget(middleware)
        table = self._listeners
        try:
            return table[hook]
        except KeyError:
            found = table[hook] = self._find(middleware, hook)
            return found

    def methods(self, middleware: list[Middleware], hook: str) -> Sequence[Callable[..., Any]]:
        """Return the methods that a hook consists of, in the order of calling."""
        # Looked up anew each time: they may have been patched.
        return [getattr(listener, hook) for listener in self.listeners(middleware, hook)]

    def _forget(self, middleware: list[Middleware]) -> None:
        # A new dictionary: another thread may be about to add to the old one what no longer holds.
        self._listeners = {}
        self._assigned_hooks = Middleware.assigned_hooks
        self._middleware = list(middleware)

    @staticmethod
    def _find(middleware: list[Middleware], hook: str) -> tuple[Middleware, ...]:
        found = [candidate for candidate in middleware if _defines(candidate, hook)]
        return tuple(reversed(found) if hook.startswith("after_") else found)


def _defines(middleware: Middleware, hook: str) -> bool:
    method: Callable[..., Any] | None = getattr(middleware, hook, None)
    empty = getattr(Middleware, hook, None)
    return method is not None and (empty is None or getattr(method, "__func__", None) is not empty)
