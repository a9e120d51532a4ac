"""A broker in memory that stores results in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from pgqueue.brokers.stub import StubBroker
from pgqueue.results import ResultBackend, Results
from pgqueue.results.backends import StubBackend
from pgqueue.results.backends.postgres import PostgresBackend


@pytest.fixture
def stub_results() -> Iterator[StubBackend]:
    """A backend in memory, emptied afterwards."""
    yield StubBackend()
    StubBackend.results.clear()


@pytest.fixture
def broker(stub_broker: StubBroker, stub_results: StubBackend) -> StubBroker:
    stub_broker.add_middleware(Results(backend=stub_results))
    return stub_broker


@pytest.fixture
def postgres_results(database_url: str) -> Iterator[PostgresBackend]:
    """A backend in a database of the test's own."""
    backend = PostgresBackend(url=database_url)
    yield backend
    backend.close()


@pytest.fixture(params=["stub", "postgres"])
def backend(request: pytest.FixtureRequest) -> ResultBackend:
    """Each backend in turn: all of them must pass the same tests."""
    return cast("ResultBackend", request.getfixturevalue(f"{request.param}_results"))
