"""An application of each kind, and what its messages do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from tests.support.queue import Queue, open_queue

from .apps import App
from .async_apps import ASYNC_APPS
from .sync_apps import SYNC_APPS

APPS: dict[str, type[App]] = {**SYNC_APPS, **ASYNC_APPS}


@pytest.fixture(params=APPS)
def kind(request: pytest.FixtureRequest) -> type[App]:
    """Each kind of application in turn."""
    return APPS[request.param]


@pytest.fixture
def app(kind: type[App], database_url: str, postgres_broker: PostgresBroker) -> Iterator[App]:
    """An application of each kind."""
    opened = kind(database_url)
    yield opened
    opened.close()


@pytest.fixture
def queue(postgres_broker: PostgresBroker, database_url: str) -> Iterator[Queue]:
    """The database, without brokers."""
    with open_queue(database_url) as queue:
        yield queue


@pytest.fixture
def ran() -> list[Any]:
    """The arguments that ``note`` was run with."""
    return []


@pytest.fixture
def note(postgres_broker: PostgresBroker, ran: list[Any]) -> pgqueue.Actor[..., Any]:
    """An actor that notes what it is run with."""

    @pgqueue.actor
    def note(*args: Any) -> None:
        ran.append(args[0] if len(args) == 1 else args)

    return note
