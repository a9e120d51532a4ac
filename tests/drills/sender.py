"""A producer as a process of its own: ``python -m tests.drills.sender SECONDS SEED`` sends what depends on the time.

Messages with an age limit that they keep, and with one that is over before their delay is; delays, also in transactions
of an application; results; a rate limit. When each may start at the earliest goes into the ledger.
"""

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

import pgqueue
from pgqueue.message import Message

from .clocks import true_time
from .ledger import Ledger
from .load import message
from .program import broker

__all__ = ["MAX_AGE_MS"]

#: An age limit of messages that start in time: far above what they wait, far below what clocks are off.
MAX_AGE_MS = 120_000

#: Seconds between two sends.
PAUSE_S = 0.02

_ledger = Ledger(Path(os.environ["DRILL_LEDGER"]))


def main() -> None:
    """Send, wait for a result now and then, and tell how it went."""
    seconds, dice = float(sys.argv[1]), random.Random(int(sys.argv[2]))  # noqa: S311
    print("up", flush=True)
    backend, waiting, number = broker.get_results_backend(), list[Message[Any]](), 0
    with psycopg.connect(os.environ["DRILL_URL"], autocommit=True) as conn:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            number += 1
            sent = _send(number, conn, dice)
            if sent.actor_name == "slow" and len(waiting) < 20:
                waiting.append(sent)
            time.sleep(dice.uniform(0, PAUSE_S))
    for each in waiting:
        each.get_result(backend=backend, block=True, timeout=30_000)
    broker.close()
    print(f"{len(waiting)} results", flush=True)


def _send(number: int, conn: "psycopg.Connection[Any]", dice: random.Random) -> Message[Any]:
    kind = dice.choice(["at once", "delayed", "in a transaction", "too old", "limited", "with a result"])
    if kind == "limited":
        return _written(broker.enqueue(message("windowed", number)))
    if kind == "with a result":
        return _written(broker.enqueue(message("slow", number, max_age=MAX_AGE_MS)))
    if kind == "at once":
        return _written(broker.enqueue(message("quick", number, max_age=MAX_AGE_MS)))
    delay, began = dice.randint(100, 1_500), true_time()
    if kind == "too old":
        late = broker.enqueue(message("quick", number, max_age=50), delay=delay)
        _ledger.write("too old", late.message_id)
        _ledger.write("unsure", late.message_id)
        return late
    one = message("quick", number, max_age=MAX_AGE_MS)
    if kind == "delayed":
        broker.enqueue(one, delay=delay)
    else:
        with conn.transaction(), pgqueue.transaction(conn):
            broker.enqueue(one, delay=delay)
    _ledger.write("due", one.message_id, claimed_at=began + delay / 1000)
    return _written(one)


def _written(one: Message[Any]) -> Message[Any]:
    _ledger.write("sent", one.message_id)
    return one


if __name__ == "__main__":
    main()
