"""What tests of operations need: a queue's statements beside a broker on the same database."""

from collections.abc import Iterator

import pytest

from tests.support.queue import Queue, open_queue


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    """The test's database without a broker."""
    with open_queue(database_url) as opened:
        yield opened
