"""The program whose workers the drills torment: a broker, its actors, and a middleware that keeps the ledger."""

import os
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers._postgres_consumer import ClaimedProxy, PostgresConsumer
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import presence
from pgqueue.engine.fetcher import Fetcher
from pgqueue.maintenance import pruner, reaper, rotator
from pgqueue.middleware import AsyncIO, CurrentMessage, Middleware
from pgqueue.rate_limits import WindowRateLimiter
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.storage.answering import AnsweringConnection
from pgqueue.storage.database import Connection
from pgqueue.storage.messages import ClaimedMessage

from .clocks import true_time
from .ledger import Ledger
from .load import WINDOW_LIMIT, WINDOW_S

__all__ = ["broker", "doomed", "flaky", "quick", "slow", "spare", "windowed"]


class Bookkeeper(Middleware):
    """Writes down each start and end of a run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        claimed = message.claimed if isinstance(message, ClaimedProxy) else None
        if claimed is None or not isinstance(message, ClaimedProxy):
            return
        self._ledger.write(
            "start",
            message.message_id,
            token=f"{claimed.lease.owner}/{claimed.lease.lid}",
            claimed_at=true_time() - (time.monotonic() - message.claimed_at),
            attempts=message.attempts,
        )

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self._ledger.write("end", message.message_id)


def _impatient() -> None:
    """Shorten the engine's patience where a drill asks for it."""
    if "DRILL_ANSWER_S" in os.environ:
        AnsweringConnection.answer_within_s = float(os.environ["DRILL_ANSWER_S"])
    if "DRILL_GRACE_S" in os.environ:
        reaper.GRACE_S = float(os.environ["DRILL_GRACE_S"])
    if "DRILL_CALM_S" in os.environ:
        reaper.CALM_S = float(os.environ["DRILL_CALM_S"])
    if "DRILL_INTERVAL_S" in os.environ:
        reaper.INTERVAL_S = float(os.environ["DRILL_INTERVAL_S"])
    if "DRILL_MAX_ATTEMPTS" in os.environ:
        reaper.MAX_ATTEMPTS = int(os.environ["DRILL_MAX_ATTEMPTS"])
    if "DRILL_KEEPER_BUSY" in os.environ:
        pruner.INTERVAL_S = rotator.BUSY_S = rotator.QUIET_S = rotator.PATIENCE_S = 0.1
        defaults = rotator.Rotator.__init__.__kwdefaults__ or {}
        defaults.update(max_messages=int(os.environ["DRILL_KEEPER_BUSY"]), patience_s=0.1)
    if "DRILL_SILENT_S" in os.environ:
        reaper.SILENT_S = float(os.environ["DRILL_SILENT_S"])
        presence.INTERVAL_S = reaper.INTERVAL_S = reaper.SILENT_S / 6


def _tell_what_begins(ledger: Ledger) -> None:
    """Write down what a thread begins with before the engine notes it: a kill may come between that and the start."""
    started = PostgresConsumer.started

    def tell(self: PostgresConsumer, message: MessageProxy) -> None:
        ledger.write("begins", message.message_id)
        started(self, message)

    PostgresConsumer.started = tell  # type: ignore[method-assign]


def _tell_where(ledger: Ledger) -> None:
    """Write down on which server each name claims, for a drill with several."""
    claim, told = Fetcher._claim, set[tuple[UUID, str]]()

    def claim_and_tell(self: Fetcher, conn: Connection, owner: UUID, limit: int) -> list[ClaimedMessage]:
        if (owner, conn.info.host) not in told:
            told.add((owner, conn.info.host))
            ledger.write("claims", str(owner), token=conn.info.host)
        return claim(self, conn, owner, limit)

    Fetcher._claim = claim_and_tell  # type: ignore[method-assign]


def _made() -> PostgresBroker:
    made = PostgresBroker(os.environ["DRILL_URL"])
    made.add_middleware(AsyncIO())
    made.add_middleware(CurrentMessage())
    made.add_middleware(Results(backend=PostgresBackend(broker=made)))
    made.add_middleware(Bookkeeper(_ledger))
    _tell_what_begins(_ledger)
    if "DRILL_SERVERS" in os.environ:
        _tell_where(_ledger)
    return made


_ledger = Ledger(Path(os.environ["DRILL_LEDGER"]))
_impatient()
broker = _made()
pgqueue.set_broker(broker)


@pgqueue.actor
def quick(number: int) -> None:
    """Do nothing."""


@pgqueue.actor(store_results=True)
def slow(number: int) -> int:
    """Take 50 milliseconds and return a result."""
    time.sleep(0.05)
    return number


@pgqueue.actor(store_results=True, min_backoff=20, max_backoff=100, throws=())
def flaky(number: int) -> int:
    """Fail the first time."""
    message = CurrentMessage.get_current_message()
    if message is not None and not message.options.get("retries"):
        raise RuntimeError("the first time")
    return number


@pgqueue.actor
def long(number: int, seconds: float) -> None:
    """Take some seconds."""
    time.sleep(seconds)


@pgqueue.actor
def windowed(number: int) -> None:
    """Pass a rate limit, or not, and write it down."""
    limiter = WindowRateLimiter(LimiterBackend(broker=broker), "drill", limit=WINDOW_LIMIT, window=WINDOW_S)
    with limiter.acquire(raise_on_failure=False) as passed:
        _ledger.write("passed" if passed else "refused")


@pgqueue.actor(queue_name="spare", max_retries=0)
def doomed(number: int) -> None:
    """Go to the dead letters."""
    raise RuntimeError("always")


@pgqueue.actor(queue_name="spare")
def spare(number: int) -> None:
    """Do nothing, in a queue of its own."""
