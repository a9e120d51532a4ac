"""A place in which to cause faults, and a look at what is told of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.faults import Fault, watch
from pgqueue.worker import Worker

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.queue import Queue, open_queue
from .table import row_of, rows


class Witness:
    """Hears of each fault of this process."""

    def __init__(self) -> None:
        self.heard: list[Fault] = []
        watch(self.hear)

    def hear(self, fault: Fault) -> None:
        """Note one."""
        self.heard.append(fault)


@dataclass
class Scene:
    """A database with a broker on it, and whatever causes a fault.

    Attributes:
      finish: Set when the test is over, for actors that wait until then.
    """

    queue: Queue
    broker: PostgresBroker
    worker_for: WorkerFor
    monkeypatch: pytest.MonkeyPatch
    finish: threading.Event = field(default_factory=threading.Event)

    def work(self, **options: Any) -> Worker:
        """Start a worker."""
        return self.worker_for(self.broker, **{"worker_threads": 2, **options})

    def end_connections(self, application_name: str) -> None:
        """Have the server end the connections of a kind; return when there was one."""
        statement = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = %s"""

        def ended() -> None:
            assert self.queue.value(statement, application_name)

        eventually(ended)


@dataclass(frozen=True)
class Told:
    """What was told meanwhile: the faults that were counted, and the lines of the log."""

    witness: Witness
    caplog: pytest.LogCaptureFixture

    def expect(self, fault: Fault) -> None:
        """Wait until the fault was counted, and logged at the level and with the words that the table has."""
        row = row_of(fault)

        def told() -> None:
            assert fault in self.witness.heard
            lines = [each for each in self.caplog.records if getattr(each, "fault", None) == fault]
            assert [
                each for each in lines if each.levelname in row.levels and row.line in each.getMessage()
            ], [each.getMessage() for each in lines]

        eventually(told, within_s=20.0)

    def expect_line(self, name: str) -> None:
        """Wait for the line of a row of the table that has no fault's name."""
        (row,) = (row for row in rows() if row.name == name)

        def told() -> None:
            lines = [each for each in self.caplog.records if row.line in each.getMessage()]
            assert [each.levelname for each in lines if each.levelname in row.levels]

        eventually(told, within_s=20.0)


@pytest.fixture
def scene(
    database_url: str,
    postgres_broker: PostgresBroker,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """A broker, and the engine's statements on its database."""
    with open_queue(database_url) as queue:
        made = Scene(queue, postgres_broker, worker_for, monkeypatch)
        yield made
        made.finish.set()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    """What is told of faults from now on."""
    caplog.set_level(logging.INFO)
    return Told(Witness(), caplog)


#: What causes a fault; it may return what ends it.
Cause = Callable[[Scene], Callable[[], object] | None]
