"""An actor and a message: `python quickstart.py [NAME …]` greets, in a worker."""

import sys

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker

broker = PostgresBroker()  # where PGQUEUE_URL says
pgqueue.set_broker(broker)


@pgqueue.actor
def greet(name: str) -> None:
    """Runs in a worker."""
    print(f"Hello, {name}!", flush=True)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["world"]:
        message = greet.send(name)
        print(f"Sent {message}: its id is {message.message_id}.")
    broker.close()
