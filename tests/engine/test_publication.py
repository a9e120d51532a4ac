"""A process says what it serves and runs, when that changes and not more often."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgqueue import schema
from pgqueue.engine import recent
from pgqueue.engine.control import Standing
from pgqueue.engine.footprint import resident_bytes
from pgqueue.engine.leases import Leases
from pgqueue.engine.publication import Publication
from pgqueue.engine.running import Running
from pgqueue.faults import Fault, report
from pgqueue.storage import workers
from pgqueue.storage.orders import Orders

from ..support.queue import Queue, open_queue


class Process:
    """What a publication asks, as a test wants it."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.leases = Leases()
        self.owner = queue.owner()
        self.leases.adopt(self.owner)
        self.running = Running()
        self.queues, self.actors = {"mail"}, {"letter"}
        self.duty = Publication(
            queue.statements,
            self.leases,
            self.running,
            queues=lambda: self.queues,
            actors=lambda: self.actors,
        )

    def said(self) -> tuple[Any, ...] | None:
        row = self.queue.conn.execute(
            "SELECT xmin::text, queues, actors, running FROM pgqueue.worker_states WHERE owner = %s",
            (self.owner,),
        ).fetchone()
        return None if row is None else tuple(row)


@pytest.fixture
def process(queue: Queue) -> Process:
    return Process(queue)


def test_it_is_written_when_it_changes_and_not_more_often(process: Process, queue: Queue) -> None:
    process.duty.run_once(queue.conn)
    first = process.said()
    assert first is not None
    assert first[1:] == (["mail"], ["letter"], [])
    process.duty.run_once(queue.conn)
    assert process.said() == first

    process.queues = {"mail", "reports"}
    process.running.begin(7, object(), time.monotonic() - 10)
    process.duty.run_once(queue.conn)
    second = process.said()
    assert second is not None
    assert second[1:] == (["mail", "reports"], ["letter"], [7])
    process.duty.run_once(queue.conn)
    assert process.said() == second
    process.running.end()


def test_short_messages_are_not_told_of(process: Process, queue: Queue) -> None:
    process.running.begin(7, object(), time.monotonic())
    process.duty.run_once(queue.conn)
    said = process.said()
    assert said is not None
    assert said[3] == []
    process.running.end()


def test_since_when_is_by_the_servers_clock(process: Process, queue: Queue) -> None:
    process.running.begin(7, object(), time.monotonic() - 100)
    process.duty.run_once(queue.conn)
    age = queue.value("SELECT extract(epoch FROM now() - running_since[1]) FROM pgqueue.worker_states")
    assert 99 < age < 200
    process.running.end()


def test_whoever_was_given_up_says_nothing_and_fails_at_nothing(process: Process, queue: Queue) -> None:
    process.duty.run_once(queue.conn)
    workers.remove(queue.conn, queue.statements, owner=process.owner)
    assert process.said() is None
    process.queues = set()
    process.duty.run_once(queue.conn)
    assert process.said() is None


def test_without_a_name_nothing_is_said(process: Process, queue: Queue) -> None:
    process.leases.renounce()
    process.duty.run_once(queue.conn)
    assert process.said() is None


def test_after_a_lost_connection_it_is_said_again(process: Process, queue: Queue) -> None:
    process.duty.run_once(queue.conn)
    queue.conn.execute("DELETE FROM pgqueue.worker_states")
    process.duty.reconnected()
    process.duty.run_once(queue.conn)
    assert process.said() is not None


def test_memory_and_state_are_told_and_small_changes_of_memory_are_not(
    process: Process, queue: Queue
) -> None:
    held, standing = [100 * 1024**2], Standing()
    duty = Publication(
        queue.statements, process.leases, process.running, queues=set, actors=set, standing=standing,
        memory=lambda: held[0],
    )  # fmt: skip

    def told() -> tuple[Any, ...]:
        duty.run_once(queue.conn)
        row = queue.conn.execute("SELECT state, memory_bytes FROM pgqueue.worker_states").fetchone()
        assert row is not None
        return tuple(row)

    assert told() == ("working", held[0])
    held[0] += 9 * 1024**2
    assert told() == ("working", 100 * 1024**2)
    held[0] += 9 * 1024**2
    assert told() == ("working", held[0])
    standing.replace(Orders(process="stop"))
    assert told() == ("stopping", held[0])

    held[0] = 0  # the system does not tell
    standing.replace(Orders())
    assert told() == ("working", None)


def test_failing_duties_and_recent_faults_are_told_until_they_are_over(
    process: Process, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing: dict[str, str] = {}
    process.duty.failing = failing.copy

    def told() -> object:
        process.duty.run_once(queue.conn)
        return queue.value("SELECT faults FROM pgqueue.worker_states")

    assert told() is None
    failing["Reaper"] = "no such table"
    report(Fault.HOOK_FAILED)
    report(Fault.HOOK_FAILED)
    assert told() == {"duties": {"Reaper": "no such table"}, "recent": {"hook_failed": 2}}
    failing.clear()
    assert told() == {"duties": {}, "recent": {"hook_failed": 2}}
    now_s = time.monotonic()
    monkeypatch.setattr(recent, "time", SimpleNamespace(monotonic=lambda: now_s + 310.0))
    assert told() is None


def test_an_error_that_jsonb_can_t_hold_is_told_without_what_it_can_t(process: Process, queue: Queue) -> None:
    process.duty.failing = lambda: {"Reaper": "a\0\udc80"}
    process.duty.run_once(queue.conn)
    assert queue.value("SELECT faults FROM pgqueue.worker_states") == {
        "duties": {"Reaper": "a?"}, "recent": {}
    }  # fmt: skip


@pytest.mark.slow
class TestInAnotherEncoding:
    @pytest.fixture
    def process(self, empty_database_url: str) -> Iterator[Process]:
        """One that is connected to a database in LATIN1."""
        with psycopg.connect(empty_database_url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE publication_latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
            url = make_conninfo(empty_database_url, dbname="publication_latin1", client_encoding="utf8")
            schema.upgrade(url)
            with open_queue(url) as queue:
                yield Process(queue)
            conn.execute("DROP DATABASE publication_latin1 (FORCE)")

    def test_letters_that_the_database_lacks_keep_nobody_from_telling(self, process: Process) -> None:
        conn = process.queue.conn
        failing: dict[str, str] = {}
        process.duty.failing = failing.copy
        for error, told in (("déjà vu", "déjà vu"), ("é → b", "? ? b")):
            failing["Reaper"] = error
            process.duty.run_once(conn)
            assert self.told(process) == told
        with conn.transaction():
            failing["Reaper"] = "→"
            process.duty.run_once(conn)
        assert self.told(process) == "?"

    def test_names_that_the_database_lacks_are_an_error(self, process: Process) -> None:
        process.actors = {"→"}
        with pytest.raises(psycopg.errors.UntranslatableCharacter):
            process.duty.run_once(process.queue.conn)

    def told(self, process: Process) -> object:
        return process.queue.value("SELECT faults -> 'duties' ->> 'Reaper' FROM pgqueue.worker_states")


def test_a_process_knows_how_much_memory_it_holds() -> None:
    assert 10 * 1024**2 < resident_bytes() < 100 * 1024**3


def test_where_the_system_does_not_tell_it_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> str:
        raise FileNotFoundError("/proc/self/statm")

    monkeypatch.setattr(Path, "read_text", nothing)
    assert 10 * 1024**2 < resident_bytes() < 100 * 1024**3
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert resident_bytes() == 0
