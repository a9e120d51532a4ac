"""What tests of brokers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pgbouncer import pgbouncer


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The test's database by way of PgBouncer in transaction mode."""
    with pgbouncer(database_url) as url:
        yield url
