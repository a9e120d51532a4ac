"""The backends under test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from pgqueue.rate_limits import RateLimiterBackend
from pgqueue.rate_limits.backends import StubBackend
from pgqueue.rate_limits.backends.postgres import PostgresBackend


@pytest.fixture
def stub_limits() -> StubBackend:
    return StubBackend()


@pytest.fixture
def postgres_limits(database_url: str) -> Iterator[PostgresBackend]:
    backend = PostgresBackend(url=database_url)
    yield backend
    backend.close()


@pytest.fixture(params=["stub", "postgres"])
def backend(request: pytest.FixtureRequest) -> RateLimiterBackend:
    """Each backend in turn: all of them must pass the same tests."""
    return cast("RateLimiterBackend", request.getfixturevalue(f"{request.param}_limits"))
