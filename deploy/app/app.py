"""What docker-compose.yml runs unless APP and APP_DIR name something else: an actor, and metrics for Prometheus."""

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware.prometheus import Prometheus

broker = PostgresBroker()
broker.add_middleware(Prometheus())
pgqueue.set_broker(broker)


@pgqueue.actor
def greet(name: str) -> None:
    """Say hello in the worker's log."""
    print(f"Hello, {name}!", flush=True)
