"""Faults of messages, of the main process and of the server are lines of the log, too, as the table has them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from psycopg.errors import DeadlockDetected

import pgqueue
from pgqueue.faults import Fault
from pgqueue.maintenance.rotator import Rotator
from pgqueue.message import Message, MessageStatus
from pgqueue.middleware.prometheus.queues import QueueCollector
from pgqueue.storage.database import Database
from pgqueue.supervisor.child import Kind, Task
from pgqueue.supervisor.posts import Nursery, Post
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, worker_pids
from tests.support.queue import Queue

from .conftest import Scene, Told

#: A server that refuses what a worker writes about a message that has ended, with a code.
REFUSING = """
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'refused by the test' USING ERRCODE = '{}'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgqueue.outcomes FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""
MENDED = "DROP FUNCTION public.refuse() CASCADE"


@contextmanager
def refusing(queue: Queue, code: str) -> Iterator[None]:
    """Have the server refuse; at the end not any more, for a worker that can't write its acks does not stop either."""
    queue.conn.execute(REFUSING.format(code).encode(), prepare=False)
    try:
        yield
    finally:
        eventually(lambda: mend(queue), within_s=30.0)


def mend(queue: Queue) -> None:
    """Take the refusal back, unless a worker is just being refused: it has the locks in another order."""
    try:
        queue.conn.execute(MENDED.encode(), prepare=False)
    except DeadlockDetected as error:
        raise AssertionError("a deadlock with a worker") from error


def test_a_message_that_fails_and_dies(scene: Scene, told: Told) -> None:
    @pgqueue.actor(max_retries=0)
    def work() -> None:
        raise ValueError("no")

    work.send()
    scene.work()
    told.expect_line("a message fails")
    told.expect_line("a message dies")


def test_a_message_that_is_too_old(scene: Scene, told: Told) -> None:
    @pgqueue.actor(max_age=1_000)
    def work() -> None: ...

    scene.broker.enqueue(Message("default", work.actor_name, (), {}, {}, message_timestamp=0))
    scene.work()
    told.expect_line("a message is too old")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("the disk is full", "53100"),
        ("the server has no room for locks", "53200"),
        ("the server takes no writes", "25006"),
    ],
)
def test_acks_are_kept_until_the_server_takes_them(scene: Scene, told: Told, name: str, code: str) -> None:
    @pgqueue.actor
    def work() -> None: ...

    with refusing(scene.queue, code):
        message = work.send()
        scene.work()
        told.expect_line(name)
        told.expect(Fault.ACK_DELAYED)

    def look() -> None:
        assert message.status() is MessageStatus.DONE

    eventually(look, within_s=20.0)


def test_what_is_claimed_and_then_paused(scene: Scene, told: Told) -> None:
    @pgqueue.actor
    def work() -> None:
        assert scene.finish.wait(20)

    first = work.send()
    work.send()
    worker = scene.work(worker_threads=1)

    def one_runs_and_the_other_waits_in_memory() -> None:
        assert worker.work_queue.qsize() == 1
        assert first.status() is MessageStatus.RUNNING

    eventually(one_runs_and_the_other_waits_in_memory)
    scene.broker.pause_queue("default")
    session = scene.broker._session
    assert session is not None

    def it_is_known() -> None:
        assert not session.standing.may_begin("default", "work")

    eventually(it_is_known)
    scene.finish.set()
    told.expect_line("something is paused")


def test_stragglers_that_are_moved(scene: Scene, told: Told) -> None:
    scene.queue.send("one", "two")
    duty = Rotator(scene.queue.statements, max_messages=1, patience_s=0.0)
    for _ in range(3):
        duty.run_once(scene.queue.conn)
    told.expect_line("stragglers are moved")
    assert scene.queue.ready() == ["one", "two"]


def test_figures_that_can_not_be_asked(told: Told) -> None:
    with closing(QueueCollector(Database("postgresql://127.0.0.1:1/nothing?connect_timeout=2"))) as collector:
        assert list(collector.collect()) == []
    told.expect_line("figures can't be asked")


def test_a_process_that_can_not_be_started(told: Told) -> None:
    class Full:
        def start(self, *_: object, **__: object) -> None:
            raise BlockingIOError("Resource temporarily unavailable")

    post = Post(Task(Kind.WORKER, "Worker process 0", cast("Any", None)))
    assert post.start(cast("Nursery", Full()), inherited=()) is None
    told.expect_line("a process can't be started")
    assert post.wait_s() is not None


@pytest.mark.slow
def test_a_process_that_does_not_stop_is_killed(tmp_path: Path, programs: list[Process]) -> None:
    project = Project(tmp_path, programs)
    project.stub()
    program = project.start_workers()
    (worker,) = worker_pids(program)
    os.kill(worker, signal.SIGSTOP)  # it hears nothing any more
    program.send(signal.SIGTERM)
    program.wait_for("once more to end at once")
    program.send(signal.SIGINT)
    assert program.wait() == 1
    assert "[ERROR] Killing the processes that have not stopped." in program.output
