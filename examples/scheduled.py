"""Messages for later: they wait in the database, whatever becomes of workers and senders meanwhile."""

import time
from datetime import timedelta

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.results import ResultFailure, Results
from pgqueue.results.backends import PostgresBackend

broker = PostgresBroker()
broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))
pgqueue.set_broker(broker)


@pgqueue.actor
def remind(what: str) -> str:
    """Runs when it is due."""
    return f"don't forget: {what}"


if __name__ == "__main__":
    sent_at = time.monotonic()
    tea = remind.send_with_options(args=("the tea",), delay=timedelta(seconds=2))
    # Of no use to anybody when it runs: older than the half second that it may be.
    stale = remind.send_with_options(args=("yesterday",), delay=1_000, max_age=500)
    print(f"{tea.actor_name} is {tea.status()}.")
    print(f"{tea.get_result(block=True, timeout=30_000)}, after {time.monotonic() - sent_at:.1f} s")
    try:
        stale.get_result(block=True, timeout=30_000)
    except ResultFailure as failure:
        print(f"Not run: {failure}")
    broker.close()
