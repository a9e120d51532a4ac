"""Crowds: threads that send batches, each in a transaction of an application, and roll some of them back."""

import random
import threading
import time
from types import TracebackType
from typing import Any, Self

import psycopg

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker

from .ledger import Ledger
from .load import message

__all__ = ["Crowd"]

#: The most messages of one transaction, and the most seconds that some stay open after they have sent.
MOST, OPEN_S = 400, 0.8

#: Messages that may wait before nobody sends more.
BACKLOG = 40_000


class Crowd:
    """Sends so many messages that are committed; whoever leaves the block waits for that.

    Attributes:
      rolled_back: How many more were not committed.
    """

    def __init__(self, url: str, ledger: Ledger, dice: random.Random, *, senders: int, total: int) -> None:
        self._url, self._ledger = url, ledger
        self._broker = PostgresBroker(url)
        self._left = total
        self._lock = threading.Lock()
        self.rolled_back = 0
        self.errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(dice.random()),), daemon=True)  # noqa: S311
            for _ in range(senders)
        ]

    def _run(self, dice: random.Random) -> None:
        try:
            with psycopg.connect(self._url) as conn:
                while size := self._take(dice):
                    self._send(conn, dice, size)
                    self._wait_for_room()
        except BaseException as error:  # noqa: BLE001  # told at the end
            self.errors.append(error)

    def _take(self, dice: random.Random) -> int:
        with self._lock:
            size = min(self._left, dice.randint(1, MOST))
            self._left -= size
            return size

    def _send(self, conn: "psycopg.Connection[Any]", dice: random.Random, size: int) -> None:
        batch = [message("quick", number, priority=dice.choice([0, 0, 0, 5])) for number in range(size)]
        while dice.random() < 0.2:
            # The same number once more, for nothing: what a rollback takes back is never to run.
            with pgqueue.transaction(conn):
                self._broker.enqueue_many([message("quick", number) for number in range(size)])
            time.sleep(dice.choice([0.0, 0.0, OPEN_S]) * dice.random())
            conn.rollback()
            with self._lock:
                self.rolled_back += size
        with pgqueue.transaction(conn):
            self._broker.enqueue_many(batch)
        time.sleep(dice.choice([0.0] * 9 + [OPEN_S]) * dice.random())
        conn.commit()
        self._ledger.write("sent", *(one.message_id for one in batch))

    def _wait_for_room(self) -> None:
        while sum(self._broker.get_queue_message_counts("default")) > BACKLOG:
            time.sleep(0.2)

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
