"""Failed messages are enqueued again, later and later, until they have been tried often enough."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgqueue.common import compute_backoff, current_millis
from pgqueue.errors import Retry
from pgqueue.logging import own_logger
from pgqueue.threading import Cancelled

from ._options import check_actor, check_duration, check_number
from .middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pgqueue.broker import Broker, MessageProxy

    RetryWhen = Callable[[int, BaseException], bool]

__all__ = ["DEFAULT_MAX_BACKOFF", "DEFAULT_MAX_RETRIES", "DEFAULT_MIN_BACKOFF", "Retries"]

#: How often a message is tried again unless told otherwise: with the default backoff, for about a month.
DEFAULT_MAX_RETRIES = 20

#: Milliseconds before the first retry.
DEFAULT_MIN_BACKOFF = 15_000

#: Milliseconds before the last ones; nobody can ask for more than these seven days.
DEFAULT_MAX_BACKOFF = 7 * 24 * 60 * 60 * 1000

#: How many frames of each traceback are kept with the message: the innermost.
TRACEBACK_FRAMES = 30


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The message is enqueued again in ``delay_ms``."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The message has had its retries."""

    max_retries: int | None


def decide(
    retries: int,
    exception: BaseException,
    *,
    max_retries: int | None,
    retry_when: RetryWhen | None,
    min_backoff: int,
    max_backoff: int,
) -> TryAgain | GiveUp:
    """Decide what becomes of a message that has just failed.

    Parameters:
      retries: How often it had been retried before this attempt.
      max_retries: None for ever; not asked when there is a ``retry_when``.
      min_backoff: Milliseconds, as ``max_backoff``, which is never more than seven days.
    """
    if retry_when is not None:
        if not retry_when(retries, exception):
            return GiveUp(max_retries)
    elif max_retries is not None and retries >= max_retries:
        return GiveUp(max_retries)
    if isinstance(exception, Retry) and exception.delay is not None:
        return TryAgain(exception.delay)
    _, delay_ms = compute_backoff(
        retries, factor=min_backoff, max_backoff=min(max_backoff, DEFAULT_MAX_BACKOFF)
    )
    return TryAgain(delay_ms)


def is_expected(exception: BaseException, throws: Any) -> bool:
    """Return whether an exception is one of those that an option ``throws`` names.

    What is no class of exceptions names none: through JSON, for example, a message can carry only strings.
    """
    try:
        return bool(throws) and isinstance(exception, throws)
    except TypeError:
        return False


class Retries(Middleware):
    """Enqueues failed messages again, with exponential backoff.

    Parameters, each of which a message or an actor may override:
      max_retries: How many times after the first attempt; None for ever.
      min_backoff: Milliseconds before the first retry; 0 or None for 15 seconds.
      max_backoff: Milliseconds before any retry; 0 or None for seven days, which is also the most there is.
      retry_when: Asked with the number of earlier retries and the exception whether to try again; takes the
        place of ``max_retries``. Actors may have their own, messages not.
    """

    def __init__(
        self,
        *,
        max_retries: int | None = DEFAULT_MAX_RETRIES,
        min_backoff: int | None = None,
        max_backoff: int | None = None,
        retry_when: RetryWhen | None = None,
    ) -> None:
        self.logger = own_logger(__name__, type(self))
        self.max_retries = max_retries
        self.min_backoff = min_backoff or DEFAULT_MIN_BACKOFF
        self.max_backoff = max_backoff or DEFAULT_MAX_BACKOFF
        self.retry_when = retry_when

    @property
    def actor_options(self) -> set[str]:
        """The constructor's; ``throws``, exceptions that end it at once; ``on_retry_exhausted``, an actor."""
        return {"max_retries", "min_backoff", "max_backoff", "retry_when", "throws", "on_retry_exhausted"}

    def check_actor_options(self, options: Mapping[str, Any]) -> None:
        """Refuse what no retry could go by."""
        check_number(options, "max_retries", expected="a number of retries, or None for any number,")
        check_duration(options, "min_backoff")
        check_duration(options, "max_backoff")
        check_actor(options, "on_retry_exhausted")
        if not callable(options.get("retry_when") or is_expected):
            raise TypeError(
                f"The actor option retry_when is {options['retry_when']!r}: a function of the number of retries so far "
                "and the exception is expected."
            )
        try:
            isinstance(None, options.get("throws") or ())
        except TypeError:
            raise TypeError(
                f"The actor option throws is {options['throws']!r}: a class of exceptions, or a tuple of them, "
                "is expected."
            ) from None

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Enqueue a failed message again, or fail it for good."""
        if exception is None:
            return
        try:
            self._after_failure(broker, message, exception)
        except BaseException:
            # A send that fails, a retry_when with a fault: acknowledged without its copy, the message would be
            # lost; among the dead letters it is not.
            message.fail()
            raise

    def _after_failure(self, broker: Broker, message: MessageProxy, exception: BaseException) -> None:
        if isinstance(exception, Cancelled):
            message.fail()
            return
        actors = broker.get_actor(message.actor_name).options
        if is_expected(exception, message.options.get("throws") or actors.get("throws")):
            self.logger.info("Aborting message %r.", message.message_id)
            message.fail()
            return
        retries = message.options.get("retries", 0)
        decision = self._decide(retries, exception, message.options, actors)
        _note_attempt(message.options, retries, exception)
        if isinstance(decision, TryAgain):
            self.logger.info("Retrying message %r in %d milliseconds.", message.message_id, decision.delay_ms)
            broker.enqueue(message, delay=decision.delay_ms)
        else:
            self._give_up(broker, message, {"retries": retries, "max_retries": decision.max_retries})

    def _decide(
        self, retries: int, exception: BaseException, own: dict[str, Any], actors: dict[str, Any]
    ) -> TryAgain | GiveUp:
        min_backoff = own.get("min_backoff", actors.get("min_backoff"))
        max_backoff = own.get("max_backoff", actors.get("max_backoff"))
        return decide(
            retries,
            exception,
            max_retries=own.get("max_retries", actors.get("max_retries", self.max_retries)),
            retry_when=actors.get("retry_when") or self.retry_when,
            min_backoff=self.min_backoff if min_backoff is None else min_backoff,
            max_backoff=self.max_backoff if max_backoff is None else max_backoff,
        )

    def _give_up(self, broker: Broker, message: MessageProxy, history: dict[str, int | None]) -> None:
        self.logger.warning("Retries exceeded for message %r.", message.message_id)
        message.fail()
        callback = message.options.get("on_retry_exhausted") or broker.get_actor(
            message.actor_name
        ).options.get("on_retry_exhausted")
        if callback:
            broker.get_actor(callback).send(message.asdict(), history)


def _note_attempt(options: dict[str, Any], retries: int, exception: BaseException) -> None:
    options["retries"] = retries + 1
    options["traceback"] = "".join(traceback.format_exception(exception, limit=-TRACEBACK_FRAMES))
    options["requeue_timestamp"] = current_millis()
