"""Stores results and failures when messages are done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgqueue.errors import ActorNotFound, PgQueueError
from pgqueue.faults import Fault
from pgqueue.logging import own_logger
from pgqueue.middleware import Middleware
from pgqueue.middleware._options import check_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgqueue.broker import Broker, MessageProxy

    from .backend import ResultBackend

__all__ = ["DEFAULT_RESULT_TTL", "Results"]

#: Milliseconds for which results are kept unless told otherwise: ten minutes.
DEFAULT_RESULT_TTL = 600_000


class Results(Middleware):
    """Stores what actors with ``store_results`` return, and what their messages failed with for good.

    Parameters, of which messages and actors may override the last two:
      backend: Where results are kept. One on the same database as the queue stores them in the commit that
        acknowledges the message.
      store_results: Whether to.
      result_ttl: Milliseconds for which they are kept; None for ten minutes.
    """

    def __init__(
        self, *, backend: ResultBackend, store_results: bool = False, result_ttl: int | None = None
    ) -> None:
        self.logger = own_logger(__name__, type(self))
        self.backend = backend
        self.store_results = store_results
        self.result_ttl = result_ttl or DEFAULT_RESULT_TTL

    @property
    def actor_options(self) -> set[str]:
        """``store_results``, and ``result_ttl`` in milliseconds."""
        return {"store_results", "result_ttl"}

    def check_actor_options(self, options: Mapping[str, Any]) -> None:
        """Refuse what is no span of time."""
        check_duration(options, "result_ttl")

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Store the result of a success."""
        if exception is not None or message.failed:
            return
        store_results, result_ttl = self._options(broker, message)
        if store_results:
            self._store(message, result, result_ttl)
        elif result is not None and message.options.get("pipe_target") is None:
            self.logger.warning(
                "Actor %r returned a value that is not None, but it does not store its results: the value "
                "has been discarded. Set its option store_results to keep such values.",
                message.actor_name,
            )

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Store None for a message that was skipped, but has not failed."""
        if not message.failed:
            store_results, result_ttl = self._options(broker, message)
            if store_results:
                self.backend.store_result(message, None, result_ttl)

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Store what a message has failed with, now that it will not be tried again."""
        if not message.failed:
            return
        try:
            store_results, result_ttl = self._options(broker, message)
        except ActorNotFound:
            # Nobody here can say whether its results are wanted.
            return
        if store_results:
            # The worker leaves the exception with the message.
            exception = message._exception or Exception("unknown")  # noqa: SLF001
            self.backend.store_exception(message, exception, result_ttl)

    def _store(self, message: MessageProxy, result: Any, ttl: int) -> None:
        try:
            self.backend.store_result(message, result, ttl)
        except PgQueueError:
            raise
        except Exception as error:
            # A value that can't be encoded. The work is done all the same; whoever waits for the value hears why
            # there is none.
            self.logger.exception(
                "The result of message %s could not be stored.", message, fault=Fault.RESULT_LOST
            )
            self.backend.store_exception(message, error, ttl)

    def _options(self, broker: Broker, message: MessageProxy) -> tuple[bool, int]:
        own, actors = message.options, broker.get_actor(message.actor_name).options
        return (
            own.get("store_results", actors.get("store_results", self.store_results)),
            own.get("result_ttl", actors.get("result_ttl", self.result_ttl)),
        )
