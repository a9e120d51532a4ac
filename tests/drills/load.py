"""The load: a thread that sends a mixture of messages and enters them into the ledger once they are committed."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import BrokerError
from pgqueue.message import Message

from .ledger import Ledger

__all__ = ["WINDOW_LIMIT", "WINDOW_S", "Load", "message", "mixture"]

#: How often each actor comes in a mixture.
WEIGHTS = {"quick": 12, "slow": 4, "flaky": 1}

#: How many of `windowed` pass within so many seconds, longer than a drill lasts, whatever the clocks show.
WINDOW_LIMIT, WINDOW_S = 20, 300


def message(actor_name: str, *args: Any, queue_name: str = "default", **options: Any) -> Message[Any]:
    """Make a message for an actor of `program`."""
    return Message(queue_name=queue_name, actor_name=actor_name, args=args, kwargs={}, options=options)


def mixture(dice: random.Random, size: int) -> list[Message[Any]]:
    """Draw some messages."""
    names = dice.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=size)
    return [message(name, number, priority=dice.choice([0, 0, 0, 5])) for number, name in enumerate(names)]


class Load:
    """Sends about ``rate`` messages a second, as ``draw`` draws them, while it is entered.

    Parameters:
      most_waiting: While more of them wait, none is sent: for a drill that asks how soon something is run, which is
        no question of the workers if they are fewer than the load needs.

    Attributes:
      held_back: How often that was so.

    What a send that failed has written is unknown: its messages may run and need not.
    """

    def __init__(
        self,
        url: str,
        ledger: Ledger,
        dice: random.Random,
        *,
        rate: int,
        draw: Callable[[random.Random, int], list[Message[Any]]] = mixture,
        most_waiting: int | None = None,
    ) -> None:
        self._broker = PostgresBroker(url)
        self._ledger = ledger
        self._dice = dice
        self._rate = rate
        self._draw = draw
        self._most_waiting = most_waiting
        self.held_back = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.failures = 0
        self.refusals: Counter[str] = Counter()
        self.error: BaseException | None = None

    def send(self, messages: list[Message[Any]]) -> None:
        """Send and write down."""
        ids = [one.message_id for one in messages]
        try:
            self._broker.enqueue_many(messages)
        except BrokerError as error:
            self.failures += 1
            self.refusals[type(error).__name__] += 1
            self._ledger.write("unsure", *ids)
        else:
            self._ledger.write("sent", *ids)

    def _send(self) -> None:
        try:
            next_at = time.monotonic()
            while not self._stopping.wait(max(0.0, next_at - time.monotonic())):
                if self._are_too_many():
                    self.held_back += 1
                    next_at = time.monotonic() + 0.1
                    continue
                size = self._dice.choice([1, 1, 5, 20, 60])
                next_at = max(next_at, time.monotonic() - 1.0) + size / self._rate
                self.send(self._draw(self._dice, size))
        except BaseException as error:  # noqa: BLE001  # told at the end
            self.error = error

    def _are_too_many(self) -> bool:
        try:
            most = self._most_waiting
            return most is not None and sum(self._broker.get_queue_message_counts("default")) > most
        except BrokerError:
            return True  # the server is down

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._broker.close()
        if self.error is not None and error is None:  # else it would hide the first that went wrong
            raise self.error
