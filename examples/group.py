"""A group: many messages, sent in one transaction, and a callback when all of them have succeeded."""

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend

broker = PostgresBroker()
broker.add_middleware(Results(backend=PostgresBackend(broker=broker)))
broker.add_middleware(GroupCallbacks(LimiterBackend(broker=broker)))
pgqueue.set_broker(broker)


@pgqueue.actor(store_results=True)
def is_prime(number: int) -> bool:
    """Tell whether a number is one."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


@pgqueue.actor(store_results=True)
def announce(limit: int) -> str:
    """Runs once, after the last of the group."""
    return f"all numbers below {limit} have been looked at"


if __name__ == "__main__":
    callback = announce.message(100)
    numbers = pgqueue.group([is_prime.message(number) for number in range(100)])
    numbers.add_completion_callback(callback)
    numbers.run()
    print(f"Callback: {callback.get_result(block=True, timeout=30_000)}.")
    primes = [number for number, prime in enumerate(numbers.get_results(block=True)) if prime]
    print(f"{len(primes)} of them are prime: {primes}")
    broker.close()
