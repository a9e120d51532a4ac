"""Threads that send, each with its own dice; what goes wrong in one is told at the end."""

import random
import threading
import time
from types import TracebackType
from typing import Self

from pgqueue.brokers.postgres import PostgresBroker

__all__ = ["Senders"]


class Senders:
    """They start with the block; whoever leaves it waits until all have ended.

    Attributes:
      errors: What ended threads before their time.
    """

    def __init__(self, url: str, dice: random.Random, *, number: int) -> None:
        self._url = url
        self._broker = PostgresBroker(url)
        self._lock = threading.Lock()
        self.errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(dice.random()),), daemon=True)  # noqa: S311
            for _ in range(number)
        ]

    def _run(self, dice: random.Random) -> None:
        try:
            self._send_all(dice)
        except BaseException as error:  # noqa: BLE001  # told at the end
            self.errors.append(error)

    def _send_all(self, dice: random.Random) -> None:
        """What one thread does."""
        raise NotImplementedError

    def over_within(self, seconds: float) -> bool:
        """Wait so long at the most; answer whether all have sent everything."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for thread in self._threads:
            thread.join()
        self._broker.close()
        if self.errors and error is None:
            raise self.errors[0]
