"""Crowds: threads that send batches, each in a transaction of an application, and roll some of them back."""

import random
import time
from typing import Any

import psycopg

import pgqueue

from .ledger import Ledger
from .load import message
from .senders import Senders

__all__ = ["Crowd"]

#: The most messages of one transaction, and the most seconds that some stay open after they have sent.
MOST, OPEN_S = 400, 0.8

#: Messages that may wait before nobody sends more.
BACKLOG = 40_000


class Crowd(Senders):
    """Sends so many messages that are committed; whoever leaves the block waits for that.

    Attributes:
      rolled_back: How many more were not committed.
    """

    def __init__(self, url: str, ledger: Ledger, dice: random.Random, *, senders: int, total: int) -> None:
        super().__init__(url, dice, number=senders)
        self._ledger = ledger
        self._left = total
        self.rolled_back = 0

    def _send_all(self, dice: random.Random) -> None:
        with psycopg.connect(self._url) as conn:
            while size := self._take(dice):
                self._send(conn, dice, size)
                self._wait_for_room()

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
