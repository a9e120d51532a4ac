"""A consumer for a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pgqueue.broker import Broker, Consumer

from .support import Consume


@pytest.fixture
def consume(broker: Broker) -> Iterator[Consume]:
    """``broker.consume``, whose consumers are closed after the test."""
    opened: list[Consumer] = []

    def open_consumer(queue_name: str, **options: Any) -> Consumer:
        opened.append(broker.consume(queue_name, **options))
        return opened[-1]

    yield open_consumer
    for consumer in opened:
        consumer.close()
