"""Brokers that store results, and the backends alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from pgqueue.broker import Broker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.results import ResultBackend, Results
from pgqueue.results.backends import StubBackend
from pgqueue.results.backends.postgres import PostgresBackend


@pytest.fixture
def stub_results() -> Iterator[StubBackend]:
    """A backend in memory, empty: all share what they hold, and other tests leave something."""
    StubBackend.results.clear()
    yield StubBackend()
    StubBackend.results.clear()


@pytest.fixture(params=["stub", "postgres"])
def broker(request: pytest.FixtureRequest, stub_results: StubBackend) -> Broker:
    """Each broker with a backend of its own kind."""
    made = cast("Broker", request.getfixturevalue(f"{request.param}_broker"))
    backend = PostgresBackend(broker=made) if isinstance(made, PostgresBroker) else stub_results
    made.add_middleware(Results(backend=backend))
    return made


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
