"""A pipeline: each message gets the result of the one before as its last argument."""

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend

broker = PostgresBroker()
broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))
pgqueue.set_broker(broker)


@pgqueue.actor
def split(text: str) -> list[str]:
    """Cut a text into words."""
    return text.lower().split()


@pgqueue.actor
def count(words: list[str]) -> dict[str, int]:
    """Count each word."""
    return {word: words.count(word) for word in words}


@pgqueue.actor
def commonest(number: int, counts: dict[str, int]) -> list[str]:
    """Name the words that occur most often."""
    return sorted(counts, key=counts.__getitem__, reverse=True)[:number]


if __name__ == "__main__":
    text = "the quick dog and the lazy dog and the fox"
    steps = split.message(text) | count.message() | commonest.message(2)
    steps.run()
    print(f"Commonest: {steps.get_result(block=True, timeout=30_000)}")
    print(f"All steps: {list(steps.get_results(block=True))}")
    broker.close()
