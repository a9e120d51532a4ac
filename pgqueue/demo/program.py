"""The demo's program: an actor that counts a page's words, and the callback of a group of them."""

import os
import threading
from dataclasses import dataclass
from signal import SIGTERM
from typing import TypedDict
from urllib.request import ProxyHandler, Request, build_opener

from .._registry import set_broker
from ..actor import Actor, actor
from ..brokers.postgres import PostgresBroker
from ..middleware import CurrentMessage, GroupCallbacks
from ..rate_limits.backends.postgres import PostgresBackend as LimiterBackend
from ..results import Results
from ..results.backends.postgres import PostgresBackend

__all__ = ["LIFELINE", "QUEUE", "Counted", "Program", "count_words", "make_program", "set_up", "tell"]

#: The queue of the pages; the callback has one of its own.
QUEUE = "pages"

#: Names the descriptor of a pipe whose other end the demo holds as long as it lives.
LIFELINE = "PGQUEUE_DEMO_LIFELINE"

#: Seconds that a page may take.
TIMEOUT_S = 30.0

# A proxy from the environment must not come between us and a server on this machine.
_opener = build_opener(ProxyHandler({}))


class Counted(TypedDict):
    """What the actor returns: the words of a page, and how often its message was retried."""

    words: int
    retries: int


@dataclass(frozen=True, slots=True)
class Program:
    """A broker and its actors."""

    broker: PostgresBroker
    count_words: Actor[[str], Counted]
    tell: Actor[[str], None]


def count_words(url: str) -> Counted:
    """Fetch a page and count its words."""
    words = len(_fetch(url).split())
    message = CurrentMessage.get_current_message()
    return {"words": words, "retries": 0 if message is None else message.options.get("retries", 0)}


def tell(url: str) -> None:
    """Tell the web server that all pages have been counted."""
    _fetch(url, data=b"")


def make_program(url: str, *, schema: str) -> Program:
    """Make the broker and the actors; connects to nothing."""
    broker = PostgresBroker(url, schema=schema)
    broker.add_middleware(CurrentMessage())
    broker.add_middleware(GroupCallbacks(LimiterBackend(broker=broker)))
    broker.add_middleware(Results(backend=PostgresBackend(broker=broker)))
    # A local server is not busy for long; by default, a message waits for 15 seconds before it is tried again.
    return Program(
        broker,
        actor(broker=broker, queue_name=QUEUE, store_results=True, min_backoff=100)(count_words),
        actor(broker=broker, queue_name="callbacks", min_backoff=100)(tell),
    )


def set_up() -> None:
    """Be the workers' program: ``pgqueue pgqueue.demo.program:set_up``."""
    program = make_program(os.environ["PGQUEUE_URL"], schema=os.environ["PGQUEUE_SCHEMA"])
    set_broker(program.broker)
    if LIFELINE in os.environ:
        lifeline = int(os.environ[LIFELINE])
        threading.Thread(target=_end_with, args=(lifeline, os.getppid()), daemon=True).start()


def _fetch(url: str, *, data: bytes | None = None) -> bytes:
    # The process's id lets the demo say whom it kills, and doing what.
    request = Request(url, data, headers={"User-Agent": f"pgqueue-demo/{os.getpid()}"})  # noqa: S310  # the demo's URL
    with _opener.open(request, timeout=TIMEOUT_S) as page:
        content: bytes = page.read()
    return content


def _end_with(lifeline: int, supervisor: int) -> None:
    """Stop all workers when the demo has died without having done so: nothing is ever written into its pipe."""
    os.read(lifeline, 1)
    if os.getppid() == supervisor:
        os.kill(supervisor, SIGTERM)
