"""When the listener's duties are due."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import listener as listener_module
from pgqueue.engine.control import Control, Standing
from pgqueue.engine.leases import Leases
from pgqueue.engine.listener import Listener
from pgqueue.engine.nudge import Nudge
from pgqueue.engine.presence import Presence
from pgqueue.engine.running import Running
from pgqueue.errors import PgQueueError
from pgqueue.faults import Fault, watch
from pgqueue.maintenance.duty import Again, Duty
from pgqueue.maintenance.lookout import Lookout
from pgqueue.maintenance.promoter import Promoter
from pgqueue.maintenance.pruner import Pruner
from pgqueue.maintenance.reaper import Reaper
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage.database import Connection, Database
from pgqueue.storage.statements import Statements

from ..support.eventually import eventually
from ..support.processes import Process
from ..support.queue import Queue


class Noted(Duty):
    """Notes that it has run; fails while it is broken."""

    def __init__(self, statements: Statements, first_within_s: float) -> None:
        super().__init__(statements)
        self.first_within_s = first_within_s
        self.ran = threading.Event()
        self.broken = False
        self.failures = 0

    def run_once(self, conn: Connection) -> Again:
        """Run."""
        self.ran.set()
        if self.broken:
            self.failures += 1
            raise ValueError("no such thing")
        return Again(60.0)


class Breaking(Noted):
    """One that is broken now and then."""


class Counted:
    """Counts faults of a kind, as the metric does."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.number = 0
        watch(self.hear)

    def hear(self, fault: Fault) -> None:
        """Count one."""
        self.number += fault is self.fault


@pytest.fixture
def duties(queue: Queue) -> list[Noted]:
    return [Breaking(queue.statements, 1e9), Noted(queue.statements, 0.2), Noted(queue.statements, 0.0)]


@pytest.fixture
def listener(queue: Queue, database_url: str, duties: list[Noted]) -> Iterator[Listener]:
    process, standing, running = uuid4(), Standing(), Running()
    made = Listener(
        Database(database_url),
        presence=Presence(queue.statements, Leases(), threads=1, board=None),
        control=Control(
            queue.statements, standing, running, process=process,
            on_change=lambda: None, on_stop=lambda: None,
        ),
        duties=duties,
        on_wake=lambda _: None,
    )  # fmt: skip
    made.start_and_wait()
    yield made
    made.stop()


@pytest.mark.usefixtures("listener")
def test_what_can_wait_is_done_at_some_moment_after_the_start(duties: list[Noted]) -> None:
    late, soon, at_once = duties
    assert at_once.ran.wait(30)
    assert soon.ran.wait(30)
    assert not late.ran.is_set()


def test_what_was_to_wait_is_done_when_somebody_asks_for_it(listener: Listener, duties: list[Noted]) -> None:
    listener.nudge(Noted)
    assert duties[0].ran.wait(30)


def test_a_duty_that_fails_for_long_is_one_line_and_one_when_it_works_again(
    listener: Listener,
    duties: list[Noted],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "AFTER_FAILURE_S", 0.01)
    monkeypatch.setattr(listener_module, "WELL_AFTER_S", 0.2)
    caplog.set_level(logging.INFO)
    duties[0].broken = True
    counted = Counted(Fault.DUTY_FAILED)
    listener.nudge(Breaking)

    def it_was_tried_again_and_again() -> None:
        assert duties[0].failures > 5
        assert listener.failing == {"Breaking": "no such thing"}

    eventually(it_was_tried_again_and_again)
    duties[0].broken = False

    def it_works() -> None:
        lines = [each for each in caplog.records if "Breaking" in each.getMessage()]
        assert [each.levelname for each in lines] == ["ERROR", "INFO"]
        assert lines[0].getMessage().endswith("no such thing")
        assert "works again" in lines[1].getMessage()
        assert listener.failing == {}

    eventually(it_works)
    assert counted.number == duties[0].failures


def test_a_duty_that_fails_now_and_then_is_one_line(
    listener: Listener,
    duties: list[Noted],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "AFTER_FAILURE_S", 60.0)
    caplog.set_level(logging.INFO)
    for times in (1, 2):
        for broken in (True, False):
            duties[0].broken = broken
            duties[0].ran.clear()
            listener.nudge(Breaking)
            assert duties[0].ran.wait(30)
        assert duties[0].failures == times
    assert [each.levelname for each in caplog.records if "Breaking" in each.getMessage()] == ["ERROR"]
    assert listener.failing == {"Breaking": "no such thing"}


def test_a_listener_that_fails_for_long_is_one_line_and_one_when_it_works_again(
    listener: Listener, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    counted = Counted(Fault.LISTENER_FAILED)
    queue.conn.execute("ALTER TABLE pgqueue.workers RENAME TO hidden")
    listener.nudge(Presence)

    def it_was_tried_again_and_again() -> None:
        assert counted.number >= 3

    eventually(it_was_tried_again_and_again)
    queue.conn.execute("ALTER TABLE pgqueue.hidden RENAME TO workers")

    def it_works() -> None:
        lines = [each for each in caplog.records if each.getMessage().startswith("The listener")]
        assert [each.levelname for each in lines] == ["ERROR", "INFO"]

    eventually(it_works)


def test_a_listener_that_fails_right_after_each_start_waits_ever_longer_and_is_told_of_once(
    listener: Listener, queue: Queue, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    counted = Counted(Fault.LISTENER_FAILED)
    starts: list[float] = []

    def fail(*_: object) -> bool:
        starts.append(time.monotonic())
        raise ValueError("filedescriptor out of range in select()")

    monkeypatch.setattr(Nudge, "wait", fail)
    listener.nudge(Presence)
    time.sleep(3.0)  # for the number of tries
    monkeypatch.undo()
    monkeypatch.setattr(listener_module, "SERVED_S", 0.1)
    assert 4 <= len(starts) < 15
    assert counted.number == len(starts)

    def it_works() -> None:
        lines = [each for each in caplog.records if each.getMessage().startswith("The listener")]
        assert [each.levelname for each in lines] == ["ERROR", "INFO"]

    eventually(it_works)


HIGH_DESCRIPTORS = """
import os, resource, sys, threading, time
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
import logging
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
broker = PostgresBroker(os.environ["PGQUEUE_URL"])
broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))
pgqueue.set_broker(broker)

@pgqueue.actor
def double(number):
    return 2 * number

worker = pgqueue.Worker(broker, worker_threads=1)
worker.start()
print("DOUBLE", double.send_with_options(args=(2,), delay=300).get_result(block=True, timeout=10_000))
worker.stop()
"""


@pytest.mark.slow
def test_more_descriptors_than_select_knows_are_no_trouble(database_url: str) -> None:
    with Process.script(HIGH_DESCRIPTORS, env={"PGQUEUE_URL": database_url}) as program:
        assert program.wait() == 0, program.output
        assert "DOUBLE 4" in program.output
        assert "The listener" not in program.output


def test_a_start_that_fails_leaves_nothing_open(queue: Queue, database_url: str) -> None:
    queue.conn.execute("ALTER TABLE pgqueue.workers RENAME TO hidden")
    broker = PostgresBroker(database_url)
    numbers = []
    for _ in range(4):
        with pytest.raises(PgQueueError):
            broker.consume("default")
        numbers.append(len(list(Path("/dev/fd").iterdir())))
    broker.close()
    assert numbers[-1] == numbers[0]


def test_nobody_waits_for_those_that_make_messages_ready() -> None:
    assert Promoter.first_within_s == Reaper.first_within_s == 0.0
    assert 0.0 < Rotator.first_within_s <= 1.0
    assert 0.0 < Pruner.first_within_s <= 5.0
    assert 0.0 < Lookout.first_within_s <= 5.0
