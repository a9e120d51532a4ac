"""What fails is tried again: a shop that can't be reached at first, and one that never can."""

from typing import Any

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import CurrentMessage
from pgqueue.results import ResultFailure, Results
from pgqueue.results.backends import PostgresBackend

broker = PostgresBroker()
broker.add_middleware(CurrentMessage())
broker.add_middleware(Results(backend=PostgresBackend(broker=broker)))
pgqueue.set_broker(broker)


class OutOfOrder(Exception):
    """The shop does not answer."""


@pgqueue.actor
def report(message: dict[str, Any], how_often: dict[str, Any]) -> None:
    """Hears of orders that were given up."""
    print(f"Gave up {message['args']} after {how_often['retries']} retries.", flush=True)


# The pauses double from 200 ms on; the defaults are 20 retries, and 15 seconds before the first.
@pgqueue.actor(max_retries=3, min_backoff=200, on_retry_exhausted="report", store_results=True)
def order(shop: str) -> str:
    """Succeeds at the third attempt, in one of the shops."""
    message = CurrentMessage.get_current_message()
    attempt = 1 + (message.options.get("retries", 0) if message else 0)
    if shop == "closed" or attempt < 3:
        raise OutOfOrder(f"{shop} does not answer")
    return f"ordered at attempt {attempt}"


if __name__ == "__main__":
    good, bad = order.send("corner shop"), order.send("closed")
    print(f"{good}: {good.get_result(block=True, timeout=30_000)}")
    try:
        bad.get_result(block=True, timeout=30_000)
    except ResultFailure as failure:
        print(f"{bad}: {failure}")
    print(f"The second one waits in the dead letters: {bad.status()}.")
    broker.close()
