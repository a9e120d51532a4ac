"""Each fault of the table turns the doctor's check that its row names, while it lasts, and no longer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import ModuleType

import pytest

import pgqueue
from pgqueue.engine import listener, publication, recent
from pgqueue.engine.leases import Leases
from pgqueue.engine.publication import Publication
from pgqueue.engine.running import Running
from pgqueue.faults import Fault, report
from pgqueue.maintenance import lookout
from pgqueue.message import Message
from pgqueue.operations import checking
from pgqueue.operations.checking import Check
from pgqueue.storage import results, retention
from pgqueue.storage.messages import StoredResult
from tests.support.eventually import eventually

from . import test_faults_of_workers as of_workers
from .conftest import Scene, Told
from .test_faults_of_the_keeper import open_transaction
from .test_faults_without_a_name import mend

#: Faults of those that a worker meets which leave no worker that could say so, and say so in their row.
GONE = {Fault.LEFT_BEHIND}

#: Rows whose check is turned by another test than those here: its file, and its name. For those of the main process the
#: doctor sees a worker that is silent, or none.
_CHECKING = "operations/test_checking.py"
ELSEWHERE = {
    "a process is started again": (_CHECKING, "test_a_silent_worker_is_named"),
    "a process can't be started": (_CHECKING, "test_messages_without_workers_fail"),
    "a time limit that can't be enforced": (_CHECKING, "test_a_silent_worker_is_named"),
    "a process is killed as it stops": (_CHECKING, "test_a_silent_worker_is_named"),
    "the disk is full": (_CHECKING, "test_a_full_disk_is_found_by_writing_to_it"),
    "the server has no room for locks": ("drills/test_exhausted_locks.py", "test_exhausted_locks"),
    "the server takes no writes": (_CHECKING, "test_the_servers_settings_are_judged"),
    "figures can't be asked": (_CHECKING, "test_a_server_that_can_not_be_reached_ends_the_visit"),
}

#: Those that another process of the deployment meets: here they are only reported, as their line does.
REPORTED = (Fault.WORKER_LOST, Fault.POISON, Fault.PROCESS_DIED, Fault.CLOCK_JUMPED)


@dataclass(frozen=True)
class Sick:
    """A check that a fault turns, and a part of what it says."""

    name: str = "faults"
    says: str | None = None


#: Faults that a worker meets and which turn another check than `faults`, or with other words.
TURNS = {
    Fault.POLLING: Sick("listeners", "can't be woken"),
    Fault.LISTENER_FAILED: Sick("schema", 'relation "pgqueue.workers" does not exist'),
    Fault.DUTY_FAILED: Sick("faults", "Pruner fails: relation"),
}

#: Faults that have no name and end in a dead letter.
DYING = ("a message dies", "a message is too old")

CAUSED = {fault: cause for fault, cause in of_workers.CAUSES.items() if fault not in GONE}


def statements(cause: str, end: str) -> Callable[[Scene], AbstractContextManager[None]]:
    """A state of the tables, and how it ends."""

    @contextmanager
    def state(scene: Scene) -> Iterator[None]:
        scene.queue.send("one", delay_ms=3_600_000)
        scene.queue.conn.execute(cause.encode())
        yield
        scene.queue.conn.execute(end.encode())

    return state


@contextmanager
def all_slots_in_use(scene: Scene) -> Iterator[None]:
    scene.monkeypatch.setattr(checking, "MOST_SLOTS", 8)
    with statements(*(f"UPDATE pgqueue.slots SET state = '{to}' WHERE state = '{of}'" for to, of in _CLOSED))(
        scene
    ):
        yield


@contextmanager
def a_pause(scene: Scene) -> Iterator[None]:
    scene.broker.pause_queue("default")
    yield
    scene.broker.resume_queue("default")


def beyond(module: ModuleType, threshold: str) -> Callable[[Scene], AbstractContextManager[None]]:
    """A threshold that is crossed, by a transaction that sleeps where it takes one, or by nothing at all."""

    @contextmanager
    def state(scene: Scene) -> Iterator[None]:
        with scene.monkeypatch.context() as lowered, open_transaction(scene):
            lowered.setattr(module, threshold, -1.0)
            yield

    return state


@contextmanager
def a_slice_that_is_read(scene: Scene) -> Iterator[None]:
    results.store(scene.queue.conn, scene.queue.statements, result=StoredResult("one", b"x", 1000))
    (slice_,) = scene.queue.values("SELECT slice FROM pgqueue.results")
    with scene.monkeypatch.context() as later:
        later.setattr(retention, "expired_slices", lambda _: [("results", slice_)])
        yield


_CLOSED = (("closing", "free"), ("free", "closing"))

#: By row of the table: a check, and a state that turns it.
STATES: dict[str, tuple[str, Callable[[Scene], AbstractContextManager[None]]]] = {
    "`promotion_late`": ("scheduled", statements(
        "UPDATE pgqueue.scheduled SET due_at = now() - interval '90 seconds'",
        "UPDATE pgqueue.scheduled SET due_at = now() + interval '90 seconds'",
    )),
    "`rotation_blocked`": ("slots", statements(
        "UPDATE pgqueue.slots SET state = 'closing', changed_at = now() - interval '1 hour' WHERE slot = 1",
        "UPDATE pgqueue.slots SET state = 'free' WHERE slot = 1",
    )),
    "`slots_short`": ("slots", all_slots_in_use),
    "`retention_behind`": ("retention", a_slice_that_is_read),
    "`notifications_full`": ("notifications", beyond(checking, "FULL_NOTIFY")),
    "`connections_short`": ("connections", beyond(checking, "FULL_CONNECTIONS")),
    "`locks_short`": ("locks", beyond(checking, "FULL_LOCKS")),
    "`old_snapshot`": ("snapshots", beyond(lookout, "OLD_SNAPSHOT_S")),
    "`idle_transaction`": ("idle transactions", beyond(checking, "OLD_IDLE_S")),
    "something is paused": ("pauses", a_pause),
}  # fmt: skip

#: By row of the table, the check that a test of this file turns.
TURNED = (
    {f"`{fault}`": TURNS.get(fault, Sick()).name for fault in (*CAUSED, *REPORTED)}
    | dict.fromkeys(DYING, "dead letters")
    | {row: check for row, (check, _) in STATES.items()}
)


def found(scene: Scene, name: str) -> Check:
    """What the doctor says under a name; the worst if it says more than one thing."""
    order = ("ok", "warning", "failure")
    return max(
        (each for each in checking.check(scene.queue.database) if each.name == name),
        key=lambda each: order.index(each.verdict),
    )


def expect_sick(scene: Scene, sick: Sick) -> None:
    def it_is() -> None:
        check = found(scene, sick.name)
        assert check.verdict != "ok"
        assert sick.says is None or sick.says in check.found, check
        assert check.remedy

    eventually(it_is)


def expect_well(scene: Scene, name: str) -> None:
    def it_is() -> None:
        assert found(scene, name).verdict == "ok", found(scene, name)

    eventually(it_is)


def publish_often(scene: Scene) -> None:
    scene.monkeypatch.setattr(publication, "INTERVAL_S", 0.05)
    scene.monkeypatch.setattr(listener, "WELL_AFTER_S", 0.5)


def forget_soon(scene: Scene) -> None:
    scene.monkeypatch.setattr(recent, "RECENT_S", 0.5)


def serve(scene: Scene) -> None:
    """Have a worker there before the fault, which hears of it whoever sends."""
    scene.broker.declare_queue("default")
    scene.work()
    eventually(lambda: of_workers._assert(scene.queue.value("SELECT count(*) FROM pgqueue.worker_states")))


def put_right(scene: Scene, fault: Fault, end: Callable[[], object] | None) -> None:
    """Take the cause away."""
    scene.finish.set()
    if end is not None:
        end()
    if fault in {Fault.ACK_FAILED, Fault.UNRECORDABLE}:
        eventually(lambda: mend(scene.queue))
    scene.monkeypatch.undo()
    publish_often(scene)
    forget_soon(scene)
    if fault is Fault.POLLING:
        scene.end_connections("pgqueue listener")


@pytest.mark.parametrize("fault", CAUSED)
def test_finds_while_it_lasts(scene: Scene, told: Told, fault: Fault) -> None:
    publish_often(scene)
    if fault in {Fault.INVALID_ETA, Fault.HOOK_FAILED}:
        serve(scene)
    end = CAUSED[fault](scene)
    told.expect(fault)
    sick = TURNS.get(fault, Sick(says=str(fault)))
    expect_sick(scene, sick)
    put_right(scene, fault, end)
    expect_well(scene, sick.name)


@pytest.mark.parametrize("row", STATES)
def test_finds_as_long_as_it_is_so(scene: Scene, row: str) -> None:
    check, state = STATES[row]
    expect_well(scene, check)
    with state(scene):
        expect_sick(scene, Sick(check))
    expect_well(scene, check)


@pytest.mark.parametrize("fault", REPORTED)
def test_finds_what_was_met_in_a_workers_process(scene: Scene, fault: Fault) -> None:
    leases = Leases()
    leases.adopt(scene.queue.owner())
    duty = Publication(scene.queue.statements, leases, Running(), queues=set, actors=set)
    report(fault)
    duty.run_once(scene.queue.conn)
    expect_sick(scene, Sick(says=f"here:1 met in the last five minutes: {fault} 1 time"))
    forget_soon(scene)
    eventually(lambda: of_workers._assert(not duty._recent.counts()))
    duty.run_once(scene.queue.conn)
    expect_well(scene, "faults")


@pytest.mark.parametrize("name", DYING)
def test_finds_dead_letters_until_they_are_seen_to(scene: Scene, name: str) -> None:
    @pgqueue.actor(max_retries=0)
    def work() -> None:
        raise ValueError("no")

    sent_at = 0 if name == "a message is too old" else None
    options = {"max_age": 3_600_000}
    scene.broker.enqueue(Message("default", work.actor_name, (), {}, options, message_timestamp=sent_at))
    scene.work()
    expect_sick(scene, Sick("dead letters", "1 message died"))
    scene.queue.conn.execute("DELETE FROM pgqueue.dead_letters")
    expect_well(scene, "dead letters")
