"""Which transaction the sender is in: blocks, kept in a context variable, and ambient providers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import _forks
from ..errors import NestedTransactions, TargetMismatch
from .target import AnyTarget, AsyncTarget, adapt

if TYPE_CHECKING:
    from ..broker import Broker

__all__ = ["ambient_target", "block_target", "outside_transaction", "register_ambient", "transaction",
           "unregister_ambient"]  # fmt: skip

#: Answers the target that is the obvious one where a message is sent, or None.
Provider = Callable[[Any], object]

_providers: tuple[Provider, ...] = ()


class _Block:
    """One block; a task or thread that inherited its context may outlive it, and a forked process is in none."""

    __slots__ = ("_depth", "_is_open", "outer", "target")

    def __init__(self, target: AnyTarget | None, outer: _Block | None) -> None:
        self.target = target
        self.outer = outer
        self._is_open = True
        self._depth = _forks.depth

    @property
    def is_open(self) -> bool:
        return self._is_open and (self.target is None or self._depth == _forks.depth)

    def close(self) -> None:
        self._is_open = False


_Entered: TypeAlias = tuple[_Block, Token[_Block | None]]

_innermost: ContextVar[_Block | None] = ContextVar("pgqueue_transaction", default=None)


class transaction:  # noqa: N801  # it reads as a function
    """In this block, everything that is sent goes through ``target``'s transaction.

    The block neither begins nor ends that transaction. Async targets take ``async with``, and messages are sent to
    them with ``await actor.send_async(...)`` and its like. Blocks belong to their context (thread or asyncio task);
    tasks that are begun in a block belong to it until it ends. Processes that are forked in it don't: what they send is
    sent at once.

    Parameters:
      target: A psycopg ``Connection`` or ``AsyncConnection``; an SQLAlchemy ``Connection``, ``Session``,
        ``scoped_session``, ``AsyncConnection``, ``AsyncSession`` or ``async_scoped_session`` on PostgreSQL; an asyncpg
        ``Connection``; a Django connection or its alias; or a :class:`~pgqueue.transactions.Target`.

    Raises:
      NotATarget: It is something else.
      TargetMismatch: ``with`` for an async target, or ``async with`` for another one.
      NestedTransactions: The block is inside one for another transaction.
    """

    def __init__(self, target: object) -> None:
        self._target = adapt(target)
        self._entered: list[_Entered] = []

    def __enter__(self) -> AnyTarget:
        if isinstance(self._target, AsyncTarget):
            raise TargetMismatch.entered_sync(self._target.connection)
        return self._enter()

    def __exit__(self, *raised: object) -> None:
        self._exit()

    async def __aenter__(self) -> AnyTarget:
        if not isinstance(self._target, AsyncTarget):
            raise TargetMismatch.entered_async(self._target.connection)
        return self._enter()

    async def __aexit__(self, *raised: object) -> None:
        self._exit()

    def _enter(self) -> AnyTarget:
        outer = block_target()
        if outer is not None and not _is_same(outer, self._target):
            raise NestedTransactions(outer.connection, self._target.connection)
        self._entered.append(_push(self._target))
        return self._target

    def _exit(self) -> None:
        _pop(*self._entered.pop())


class outside_transaction:  # noqa: N801  # it reads as a function
    """In this block, messages are sent at once, whatever transaction there is around it.

    For a message that must go out even if the transaction is rolled back. Takes ``with`` and ``async with``.
    """

    def __init__(self) -> None:
        self._entered: list[_Entered] = []

    def __enter__(self) -> None:
        self._entered.append(_push(None))

    def __exit__(self, *raised: object) -> None:
        _pop(*self._entered.pop())

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, *raised: object) -> None:
        self.__exit__()


def register_ambient(provider: Provider) -> None:
    """Have ``provider`` asked, with the broker, for the target of each send outside of blocks; once, however often."""
    global _providers  # noqa: PLW0603  # what a program's integrations agree on
    unregister_ambient(provider)
    _providers = (provider, *_providers)


def unregister_ambient(provider: Provider) -> None:
    """Ask ``provider`` no more; nothing happens if it was not registered."""
    global _providers  # noqa: PLW0603
    _providers = tuple(known for known in _providers if known != provider)


def block_target() -> AnyTarget | None:
    """The target of the innermost block of this context."""
    block = _innermost_open()
    return None if block is None else block.target


def is_outside() -> bool:
    """Whether the innermost block is that of `outside_transaction`."""
    block = _innermost_open()
    return block is not None and block.target is None


def ambient_target(broker: Broker) -> AnyTarget | None:
    """The target that a provider answers, outside of blocks."""
    for provider in _providers:
        found = provider(broker)
        if found is not None:
            return adapt(found)
    return None


def _innermost_open() -> _Block | None:
    block = _innermost.get()
    while block is not None and not block.is_open:
        block = block.outer
    return block


def _push(target: AnyTarget | None) -> _Entered:
    block = _Block(target, _innermost.get())
    return block, _innermost.set(block)


def _pop(block: _Block, token: Token[_Block | None]) -> None:
    block.close()
    # A block may be left in another context than it was entered in: generators are that a framework runs in threads.
    with suppress(ValueError):
        _innermost.reset(token)


def _is_same(one: AnyTarget, other: AnyTarget) -> bool:
    return one.connection is other.connection or one.identity() is other.identity()
