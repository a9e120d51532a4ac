"""Producers: threads that send one message after the other, each in another kind of transaction, near the idle edge.

Between two sends there are a few milliseconds, so that the workers have mostly just become idle, or are about to.
"""

import asyncio
import random
import time
from collections import Counter

import psycopg

import pgqueue

from .ledger import Ledger
from .load import message
from .senders import Senders

__all__ = ["KINDS", "Producers"]

#: How a message is sent: at once, by a coroutine, in an application's transaction that is short, long or rolled back.
KINDS = ("autocommit", "async", "transaction", "slow transaction", "rolled back")

#: The most seconds between two sends of one producer.
PAUSE_S = 0.03


class Producers(Senders):
    """Each sends ``each`` messages and ends; whoever leaves the block waits for that.

    Attributes:
      sent: How many messages of each kind.
    """

    def __init__(self, url: str, ledger: Ledger, dice: random.Random, *, number: int, each: int) -> None:
        super().__init__(url, dice, number=number)
        self._ledger = ledger
        self._each = each
        self.sent: Counter[str] = Counter()

    def _send_all(self, dice: random.Random) -> None:
        with psycopg.connect(self._url) as conn, asyncio.Runner() as loop:
            for number in range(self._each):
                kind = dice.choice(KINDS)
                self._send(kind, number, conn, loop, dice)
                with self._lock:
                    self.sent[kind] += 1
                time.sleep(dice.uniform(0, PAUSE_S))

    def _send(
        self,
        kind: str,
        number: int,
        conn: "psycopg.Connection[object]",
        loop: asyncio.Runner,
        dice: random.Random,
    ) -> None:
        one = message("quick", number)
        if kind == "autocommit":
            self._broker.enqueue(one)
        elif kind == "async":
            loop.run(self._broker.enqueue_many_async([one]))
        else:
            with pgqueue.transaction(conn):
                self._broker.enqueue(one)
            if kind == "slow transaction":
                time.sleep(dice.uniform(0, PAUSE_S))
            if kind == "rolled back":
                conn.rollback()
                return
            conn.commit()
        self._ledger.write("sent", one.message_id)
