"""What every store of results offers, and how one waits for a result where the store can't."""

from __future__ import annotations

import asyncio
import hashlib
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from pgqueue.common import compute_backoff, q_name
from pgqueue.encoder import Encoder, get_encoder
from pgqueue.errors import ResultMissing, ResultTimeout

from .result import unwrap_result, wrap_exception, wrap_result

if TYPE_CHECKING:
    from pgqueue.broker import MessageProxy
    from pgqueue.message import Message

__all__ = ["DEFAULT_TIMEOUT", "Missing", "MissingType", "ResultBackend"]

R = TypeVar("R")

#: Milliseconds that a blocking `ResultBackend.get_result` waits unless told otherwise.
DEFAULT_TIMEOUT = 10_000

#: Milliseconds between the first two looks of a blocking `ResultBackend.get_result`, at least.
MIN_BACKOFF = 100


class MissingType(Enum):
    """The type of `Missing`."""

    MISSING = "Missing"

    def __repr__(self) -> str:
        return self.value


#: What a backend finds where no result is; None would not do, as it is a result like any other.
Missing: Final = MissingType.MISSING


class ResultBackend:
    """Keeps results for a while. Subclasses implement `_get` and `_store`; all times are milliseconds.

    Parameters:
      namespace: The start of every key.
      encoder: Turns results into bytes; None for the process's encoder as it is now.
      use_namespace_prefix_keys: Whether keys are readable; otherwise they are MD5 digests.
    """

    def __init__(
        self,
        *,
        namespace: str = "pgqueue-results",
        encoder: Encoder | None = None,
        use_namespace_prefix_keys: bool = False,
    ) -> None:
        self.namespace = namespace
        self.encoder = encoder or get_encoder()
        self.use_namespace_prefix_keys = use_namespace_prefix_keys

    def get_result(self, message: Message[R], *, block: bool = False, timeout: int | None = None) -> R:
        """Return a message's result; it stays where it is.

        Parameters:
          block: Whether to wait for it.
          timeout: How long; None for ten seconds.

        Raises:
          ResultMissing: There is none, and ``block`` is off.
          ResultTimeout: There was none in time.
          ResultFailure: The message failed for good.
        """
        key = self.build_message_key(message)
        result = self._get(key)
        if result is Missing and block:
            result = self._poll(key, DEFAULT_TIMEOUT if timeout is None else timeout)
        return cast("R", self._found(message, result, waited=block))

    async def get_result_async(
        self, message: Message[R], *, block: bool = False, timeout: int | None = None
    ) -> R:
        """As :meth:`get_result`, for a coroutine: its event loop goes on meanwhile."""
        key = self.build_message_key(message)
        if block:
            result = await self._poll_async(key, DEFAULT_TIMEOUT if timeout is None else timeout)
        else:
            result = await self._get_async(key)
        return cast("R", self._found(message, result, waited=block))

    def _found(self, message: Message[Any], result: Any, *, waited: bool) -> Any:
        if result is Missing:
            raise (ResultTimeout if waited else ResultMissing)(cast("Any", message))
        return self.unwrap_result(result)

    def store_result(self, message: Message[Any] | MessageProxy, result: Any, ttl: int) -> None:
        """Keep what an actor returned for ``ttl``."""
        self._store(self.build_message_key(message), wrap_result(result), ttl)

    def store_exception(
        self, message: Message[Any] | MessageProxy, exception: BaseException, ttl: int
    ) -> None:
        """Keep for ``ttl`` that, and with what, an actor has failed."""
        self._store(self.build_message_key(message), wrap_exception(exception), ttl)

    def unwrap_result(self, res: Any) -> Any:
        """Return the value that was stored; raise `ResultFailure` where it is a failure."""
        return unwrap_result(res)

    def build_message_key(self, message: Message[Any] | MessageProxy) -> str:
        """Return the key of a message's result; a subclass may build other keys."""
        queue_name = q_name(message.queue_name)
        key = f"{self.namespace}:{queue_name}:{message.actor_name}:{message.message_id}"
        if self.use_namespace_prefix_keys:
            return key
        return hashlib.md5(key.encode("utf-8"), usedforsecurity=False).hexdigest()

    def _poll(self, key: str, timeout: int) -> Any:
        deadline = time.monotonic() + timeout / 1000
        attempts, result = 0, Missing
        while result is Missing and (left_s := deadline - time.monotonic()) > 0:
            attempts, backoff = compute_backoff(attempts, factor=MIN_BACKOFF)
            time.sleep(min(backoff / 1000, left_s))
            result = self._get(key)
        return result

    async def _get_async(self, message_key: str) -> Any:
        """As `_get`; a backend with a server does not hold up the event loop meanwhile."""
        return self._get(message_key)

    async def _poll_async(self, key: str, timeout: int) -> Any:
        deadline = time.monotonic() + timeout / 1000
        attempts, result = 0, await self._get_async(key)
        while result is Missing and (left_s := deadline - time.monotonic()) > 0:
            attempts, backoff = compute_backoff(attempts, factor=MIN_BACKOFF)
            await asyncio.sleep(min(backoff / 1000, left_s))
            result = await self._get_async(key)
        return result

    def _get(self, message_key: str) -> Any:
        """Return what is stored under a key, `Missing` if nothing is."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _get()")

    def _store(self, message_key: str, result: Any, ttl: int) -> None:
        """Store a value under a key for ``ttl``, in the place of any earlier one."""
        raise NotImplementedError(f"{type(self).__name__} does not implement _store()")
