"""Each fault that the keeper's duties meet is counted and is a line of the log; one that lasts is told of once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from pgqueue.engine.board import Board
from pgqueue.engine.inheritance import Inheritance
from pgqueue.faults import Fault
from pgqueue.maintenance import lookout, pruner, reaper, rotator
from pgqueue.maintenance.duty import Alarm, Duty
from pgqueue.maintenance.lookout import Lookout
from pgqueue.maintenance.promoter import Promoter
from pgqueue.maintenance.pruner import Pruner
from pgqueue.maintenance.reaper import Reaper
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage import health, results, retention
from pgqueue.storage.messages import StoredResult

from .conftest import Cause, Scene, Told


def run(scene: Scene, duty: Duty, times: int = 2) -> None:
    """Run a duty a few times, on a connection of its own."""
    conn = scene.queue.connect()
    for _ in range(times):
        duty.run_once(conn)


def lose_a_worker(scene: Scene) -> None:
    scene.monkeypatch.setattr(reaper, "CALM_S", 0.0)
    scene.queue.send("one")
    with scene.queue.connect() as its:
        scene.queue.claimed(scene.queue.owner(its))
    scene.queue.conn.execute("UPDATE pgqueue.workers SET seen_at = seen_at - interval '10 seconds'")
    run(scene, Reaper(scene.queue.statements))


def lose_a_third_worker(scene: Scene) -> None:
    scene.monkeypatch.setattr(reaper, "MAX_ATTEMPTS", 1)
    lose_a_worker(scene)


def find_a_dead_process(scene: Scene, directory: Path) -> None:
    board = Board.create(directory / "1.board", threads=2)
    scene.queue.send("one")
    with scene.queue.connect() as its:
        owner = scene.queue.owner(its)
        board.add_owner(owner)
        scene.queue.claimed(owner)
    board.bequeath(board.path.parent, code=-signal.SIGKILL)
    board.close()
    run(scene, Inheritance(scene.queue.statements, directory))


def put_the_clock_forward(scene: Scene) -> None:
    duty, conn, now_s = Reaper(scene.queue.statements), scene.queue.connect(), retention.now_s
    duty.run_once(conn)
    scene.monkeypatch.setattr(retention, "now_s", lambda *any_: now_s(*any_) + 600)
    duty.run_once(conn)


def be_late(scene: Scene) -> None:
    scene.queue.send("one", delay_ms=3_600_000)
    scene.queue.conn.execute("UPDATE pgqueue.scheduled SET due_at = now() - interval '90 seconds'")
    run(scene, Promoter(scene.queue.statements))


def keep_a_slot_from_being_emptied(scene: Scene) -> None:
    scene.queue.conn.execute(
        "UPDATE pgqueue.slots SET state = 'closing', changed_at = now() - interval '1 hour' WHERE slot = 1"
    )
    run(scene, Rotator(scene.queue.statements))


def use_all_slots_up(scene: Scene) -> None:
    scene.monkeypatch.setattr(rotator, "MAX_SLOTS", 8)
    scene.queue.conn.execute("UPDATE pgqueue.slots SET state = 'closing' WHERE state = 'free'")
    run(scene, Rotator(scene.queue.statements, max_messages=0))


def read_for_too_long(scene: Scene) -> None:
    scene.monkeypatch.setattr(pruner, "BEHIND_S", -1.0)
    results.store(scene.queue.conn, scene.queue.statements, result=StoredResult("one", b"x", 1000))
    (slice_,) = scene.queue.values("SELECT slice FROM pgqueue.results")
    scene.monkeypatch.setattr(retention, "expired_slices", lambda _: [("results", slice_)])
    with scene.queue.connect() as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM pgqueue.results")
        run(scene, Pruner(scene.queue.statements))


@contextmanager
def open_transaction(scene: Scene) -> Iterator[None]:
    """An application's transaction that has written something and sleeps."""
    with scene.queue.connect() as its:
        its.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        its.execute("SELECT pg_current_xact_id()")
        yield
        its.execute("ROLLBACK")


def look_out(scene: Scene, threshold: str) -> None:
    scene.monkeypatch.setattr(lookout, threshold, -1.0)
    with open_transaction(scene):
        run(scene, Lookout(scene.queue.statements))


CAUSES: dict[Fault, Cause] = {
    Fault.WORKER_LOST: lose_a_worker,
    Fault.POISON: lose_a_third_worker,
    Fault.CLOCK_JUMPED: put_the_clock_forward,
    Fault.PROMOTION_LATE: be_late,
    Fault.ROTATION_BLOCKED: keep_a_slot_from_being_emptied,
    Fault.SLOTS_SHORT: use_all_slots_up,
    Fault.RETENTION_BEHIND: read_for_too_long,
    Fault.NOTIFICATIONS_FULL: lambda scene: look_out(scene, "FULL_NOTIFY"),
    Fault.CONNECTIONS_SHORT: lambda scene: look_out(scene, "FULL_CONNECTIONS"),
    Fault.LOCKS_SHORT: lambda scene: look_out(scene, "FULL_LOCKS"),
    Fault.OLD_SNAPSHOT: lambda scene: look_out(scene, "OLD_SNAPSHOT_S"),
    Fault.IDLE_TRANSACTION: lambda scene: look_out(scene, "OLD_IDLE_S"),
}


@pytest.mark.parametrize("fault", CAUSES)
def test_the_keeper_tells_once_of(scene: Scene, told: Told, fault: Fault) -> None:
    CAUSES[fault](scene)
    told.expect(fault)
    assert told.witness.heard.count(fault) == 1


def test_an_heir_tells_of_a_process_that_died(scene: Scene, told: Told, tmp_path: Path) -> None:
    find_a_dead_process(scene, tmp_path)
    told.expect(Fault.PROCESS_DIED)


def test_one_session_of_a_deployment_looks_out(scene: Scene, told: Told) -> None:
    scene.monkeypatch.setattr(lookout, "FULL_CONNECTIONS", -1.0)
    with scene.queue.connect() as first:
        Lookout(scene.queue.statements).run_once(first)
        run(scene, Lookout(scene.queue.statements))
        assert told.witness.heard.count(Fault.CONNECTIONS_SHORT) == 1


def test_a_look_that_fails_is_told_once_and_hides_nothing_of_the_others(scene: Scene, told: Told) -> None:
    duty, conn = Lookout(scene.queue.statements), scene.queue.connect()
    scene.monkeypatch.setattr(lookout, "OLD_IDLE_S", -1.0)
    scene.monkeypatch.setattr(lookout, "OLD_SNAPSHOT_S", -1.0)
    with scene.monkeypatch.context() as broken, open_transaction(scene):
        broken.setattr(health, "locks", lambda conn, _: conn.execute("SELECT 1 / 0"))
        for _ in range(2):
            duty.run_once(conn)
        assert Fault.IDLE_TRANSACTION in told.witness.heard
        assert Fault.OLD_SNAPSHOT in told.witness.heard
        told.expect(Fault.DUTY_FAILED)
        assert told.witness.heard.count(Fault.DUTY_FAILED) == 1
    scene.monkeypatch.setattr(lookout, "FULL_LOCKS", -1.0)
    duty.run_once(conn)
    assert Fault.LOCKS_SHORT in told.witness.heard
    conn.close()
    with pytest.raises(psycopg.OperationalError):  # the keeper opens another
        duty.run_once(conn)


def test_what_comes_again_is_told_again() -> None:
    alarm = Alarm()
    assert [alarm.begins("x", present=present) for present in (True, True, False, True)] == [
        True, False, False, True,
    ]  # fmt: skip
