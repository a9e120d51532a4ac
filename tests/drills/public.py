"""A program of public names only, whose workers may be of any release: ``python -m tests.drills.public THREADS``.

With a seed as its second argument it sends instead, about a hundred messages a second. SIGTERM ends both gracefully.
"""

import logging
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import CurrentMessage, Middleware
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.worker import Worker

from .ledger import Ledger


class Bookkeeper(Middleware):
    """Writes down each start and end of a run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def before_process_message(self, broker: pgqueue.Broker, message: Any) -> None:
        self._ledger.write("start", message.message_id, claimed_at=time.time())

    def after_process_message(
        self, broker: pgqueue.Broker, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        self._ledger.write("end", message.message_id)


ledger = Ledger(Path(os.environ["DRILL_LEDGER"]))
broker = PostgresBroker(os.environ["DRILL_URL"])
backend = PostgresBackend(broker=broker)
broker.add_middleware(CurrentMessage())
broker.add_middleware(Results(backend=backend))
broker.add_middleware(Bookkeeper(ledger))
pgqueue.set_broker(broker)


@pgqueue.actor
def quick(number: int) -> None:
    """Do nothing."""


@pgqueue.actor(store_results=True)
def slow(number: int) -> int:
    """Take 20 milliseconds and return a result."""
    time.sleep(0.02)
    return number


@pgqueue.actor(min_backoff=20, max_backoff=100)
def flaky(number: int) -> None:
    """Fail the first time."""
    message = CurrentMessage.get_current_message()
    if message is not None and not message.options.get("retries"):
        raise RuntimeError("the first time")


def send_some(dice: random.Random) -> None:
    """Send a message at once or for later, or a pipeline, and write down what will run."""
    number = dice.randrange(1_000_000)
    match dice.choice(["quick", "slow", "flaky", "later", "pipeline"]):
        case "pipeline":
            second = slow.message_with_options(args=(number,), pipe_ignore=True)
            ids = [one.message_id for one in pgqueue.pipeline([slow.message(number), second]).run().messages]
        case "later":
            ids = [quick.send_with_options(args=(number,), delay=200).message_id]
        case name:
            ids = [broker.get_actor(name).send(number).message_id]
    ledger.write("sent", *ids)


def main() -> None:
    """Work, or send, until told to stop."""
    logging.basicConfig(format="[PID %(process)d] [%(name)s] [%(levelname)s] %(message)s")
    logging.getLogger("pgqueue.middleware").setLevel(logging.CRITICAL)
    logging.getLogger("pgqueue.worker.WorkerThread").setLevel(logging.CRITICAL)
    asked, parent = threading.Event(), os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    dice, sends = random.Random(sys.argv[2] if len(sys.argv) > 2 else None), len(sys.argv) > 2  # noqa: S311
    worker = None if sends else Worker(broker, worker_threads=int(sys.argv[1]))
    if worker is not None:
        worker.start()
    print(f"up {pgqueue.__file__}\nup", flush=True)
    while not asked.wait(0.01 if sends else 1.0) and os.getppid() == parent:
        if sends:
            send_some(dice)
    if worker is not None:
        worker.stop(timeout=20_000)
    broker.close()


if __name__ == "__main__":
    main()
