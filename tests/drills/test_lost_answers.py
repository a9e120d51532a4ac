"""The answer to acks that were committed never comes: a proxy takes it and closes the connection, under load."""

import random
import time
from collections.abc import Callable

import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message
from tests.support.swallowing import Swallowing

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message, mixture


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_answers_that_never_come(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """No message is noted twice, told as lost, or run again for it; nor does one keep its place in a limited queue."""
    _limit(database_url, "spare", 2)
    with (
        Swallowing(database_url, "pgqueue acker", share=0.2, dice=dice) as proxy,
        Fleet(proxy.url, ledger) as fleet,
    ):
        fleet.start(2)
        with Load(database_url, ledger, dice, rate=300, draw=draw):
            proxy.active = True
            time.sleep(scale(3, 60))
        proxy.active = False
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        facts = Facts.of(ledger)
        # But for those that fail once, and are sent again by their retry.
        twice = sum(len({run.claimed_at for run in runs}) > 2 for runs in facts.runs.values())
        report(examine(database_url, ledger), answers_taken=proxy.taken, ran_more_than_twice=twice)
        assert proxy.taken > 0
        assert twice == 0
        for complaint in ("LeaseLost", "declared lost", "could not be written", "can't be recorded"):
            assert complaint not in fleet.output


def draw(dice: random.Random, size: int) -> list[Message[tuple[()]]]:
    """A mixture of the usual, and a few of a limited queue."""
    limited = [message("spare", number, queue_name="spare") for number in range(size // 10)]
    return [*mixture(dice, size), *limited]


def _limit(url: str, queue_name: str, at_once: int) -> None:
    broker = PostgresBroker(url)
    broker.declare_queue(queue_name)
    broker.limit_queue(queue_name, at_once)
    broker.close()
