"""The server's queue of notifications is full, because a session listens and sleeps in a transaction."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors

from pgqueue import embedded, schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.operations.checking import check
from pgqueue.results.backends import PostgresBackend
from tests.support.postgres import quick_directory

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import message
from .producers import KINDS, Producers
from .test_slow_transactions import waits_for_the_first_run

#: The fewest pages that the server allows for; one notification of ours fills nearly one.
PAGES = 64

FILL = "SELECT pg_notify('hog', repeat('x', 7900))"


@pytest.fixture
def server() -> Iterator[embedded.Server]:
    """A server of the drill's own with a small queue of notifications."""
    directory = tempfile.mkdtemp(prefix="pgqueue-drill-", dir=quick_directory())
    with embedded.start(
        directory, temporary=True, settings={"max_notify_queue_pages": str(PAGES)}
    ) as started:
        schema.upgrade(started.url)
        yield started


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_full_queue_of_notifications(
    server: embedded.Server, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Nobody's commit fails for want of a wake-up: workers look by themselves, and results reach who waits."""
    each = scale(40, 1_500)
    with Fleet(server.url, ledger) as fleet:
        fleet.start(2)
        with full(server.url):
            with Producers(server.url, ledger, dice, number=3, each=each) as producers:
                pass
            answered_s = wait_for_a_result(server.url, ledger)
            told = checks(server.url)["notifications"]
        wait_until_drained(server.url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        assert "Traceback" not in fleet.output, fleet.output
    waits = waits_for_the_first_run(ledger)
    report(
        examine(server.url, ledger), slowest_start_s=round(max(waits), 2), result_s=round(answered_s, 2),
        **producers.sent,
    )  # fmt: skip
    assert set(producers.sent) == set(KINDS)
    assert told == "failure"
    assert checks(server.url)["notifications"] == "ok"


@contextmanager
def full(url: str) -> Iterator[None]:
    """Fill the queue, with a session that listens and never reads."""
    with psycopg.connect(url) as hog, psycopg.connect(url, autocommit=True) as filler:
        hog.execute("LISTEN hog")
        hog.commit()
        hog.execute("SELECT 1")
        with pytest.raises(errors.ProgramLimitExceeded):  # noqa: PT012  (how many it takes is the server's)
            while True:
                filler.execute(FILL)
        yield
        hog.rollback()


def wait_for_a_result(url: str, ledger: Ledger) -> float:
    """Send a message and wait for its result; return how long that took."""
    broker = PostgresBroker(url)
    began = time.monotonic()
    sent = broker.enqueue(message("slow", 4711))
    ledger.write("sent", sent.message_id)
    assert sent.get_result(backend=PostgresBackend(broker=broker), block=True, timeout=30_000) == 4711
    broker.close()
    return time.monotonic() - began


def checks(url: str) -> dict[str, str]:
    """What the doctor says."""
    broker = PostgresBroker(url)
    found: dict[str, str] = {one.name: one.verdict for one in check(broker.database)}
    broker.close()
    return found
