"""The engine's statements at hand, on a database of the test's own."""

from collections.abc import Iterator

import pytest

from pgqueue.engine.leases import Leases

from ..support.queue import Queue, open_queue


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    """A migrated database and the engine's statements on it."""
    with open_queue(database_url) as opened:
        yield opened


@pytest.fixture
def leases(queue: Queue) -> Leases:
    """What a process holds, with a name to claim under."""
    made = Leases()
    made.adopt(queue.owner())
    return made
