"""Each fault that a worker meets is counted and is a line of the log, as the table of the operators' page has it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

import pgqueue
from pgqueue.brokers._postgres_consumer import PostgresConsumer
from pgqueue.engine import presence
from pgqueue.engine.aside import Aside
from pgqueue.errors import DatabaseUnavailable
from pgqueue.faults import Fault
from pgqueue.message import Message
from pgqueue.middleware import Middleware
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.storage.database import Database
from tests.support.eventually import eventually

from .conftest import Cause, Scene, Told

#: A server that refuses a value, wherever a worker writes what became of a message.
REFUSING = """
    CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'no such value' USING ERRCODE = '22000'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON pgqueue.outcomes FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""
REFUSING_EVERYTHING = (
    REFUSING
    + """
    CREATE TRIGGER refuse BEFORE INSERT ON pgqueue.dead_letters FOR EACH ROW EXECUTE FUNCTION public.refuse();
"""
)


def lose_the_listener(scene: Scene) -> None:
    scene.work()
    scene.end_connections("pgqueue listener")


def hide_the_table_of_workers(scene: Scene) -> Callable[[], object]:
    scene.monkeypatch.setattr(presence, "INTERVAL_S", 0.05)
    scene.work()
    scene.queue.conn.execute("ALTER TABLE pgqueue.workers RENAME TO hidden")
    return lambda: scene.queue.conn.execute("ALTER TABLE pgqueue.hidden RENAME TO workers")


def go_through_a_pooler(scene: Scene) -> None:
    scene.monkeypatch.setattr(Database, "is_pooled", lambda *_: True)
    scene.work()


def lose_the_fetcher(scene: Scene) -> None:
    scene.work()
    scene.end_connections("pgqueue fetcher")


def pause_while_the_database_is_away(scene: Scene) -> None:
    def away(_: Aside) -> None:
        raise DatabaseUnavailable("away")

    scene.monkeypatch.setattr(Aside, "write", away)
    worker = scene.work()
    eventually(lambda: _assert(worker.workers))


def _assert(value: object) -> None:
    assert value


def lose_the_acker(scene: Scene) -> None:
    @pgqueue.actor
    def work(ends: bool) -> None:
        if ends:
            scene.end_connections("pgqueue acker")

    work.send(False)
    scene.work()
    # Only then it has a connection, to which it trusts.
    scene.broker.join("default", timeout=20_000)
    work.send(True)


def refuse_what_became_of_a_message(scene: Scene) -> None:
    _run_one(scene, REFUSING)


def refuse_everything(scene: Scene) -> None:
    _run_one(scene, REFUSING_EVERYTHING)


def _run_one(scene: Scene, script: str) -> None:
    @pgqueue.actor
    def work() -> None: ...

    scene.queue.conn.execute(script.encode(), prepare=False)
    work.send()
    scene.work()


def give_the_message_to_somebody_else(scene: Scene) -> None:
    @pgqueue.actor
    def work() -> None:
        scene.queue.conn.execute("DELETE FROM pgqueue.leases")

    work.send()
    scene.work()


def return_what_can_not_be_encoded(scene: Scene) -> None:
    scene.broker.add_middleware(Results(backend=PostgresBackend(broker=scene.broker), store_results=True))

    @pgqueue.actor
    def work() -> object:
        return object()

    work.send()
    scene.work()


def send_bytes_that_are_no_message(scene: Scene) -> None:
    scene.broker.declare_queue("default")
    scene.queue.send(b"\xff")
    scene.work()


def send_to_an_actor_that_nobody_has(scene: Scene) -> None:
    scene.broker.declare_queue("default")
    scene.broker.enqueue(Message("default", "nobody", (), {}, {}))
    scene.work()


def send_for_an_instant_that_is_none(scene: Scene) -> None:
    scene.broker.enqueue(Message("default", "work", (), {}, {"eta": "soon"}))


def overrun_the_time_limit(scene: Scene) -> None:
    @pgqueue.actor(time_limit=20, max_retries=0)
    def work() -> None:
        while not scene.finish.is_set():
            time.sleep(0.005)

    work.send()
    scene.work()


def hold_a_transaction(scene: Scene) -> None:
    @pgqueue.actor(transactional=True, transaction_warning_s=0)
    def work() -> None:
        pgqueue.current_transaction().connection.execute("SELECT 1")

    work.send()
    scene.work()


def fail_in_a_hook(scene: Scene) -> None:
    class Broken(Middleware):
        def before_enqueue(self, *_: object) -> None:
            raise ValueError("no")

    scene.broker.add_middleware(Broken())
    scene.broker.enqueue(Message("default", "work", (), {}, {}))


def fail_to_fetch(scene: Scene) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no")

    scene.monkeypatch.setattr(PostgresConsumer, "__next__", broken)
    scene.broker.declare_queue("default")
    scene.work()


def stop_before_the_end(scene: Scene) -> None:
    begun = threading.Event()

    @pgqueue.actor
    def work() -> None:
        begun.set()
        scene.finish.wait(20)

    work.send()
    worker = scene.work()
    assert begun.wait(20)
    worker.stop(timeout=10)


def be_stopped_for_a_while(scene: Scene) -> None:
    scene.monkeypatch.setattr(presence, "LATE_S", -1.0)
    scene.work()


def be_given_up(scene: Scene) -> None:
    scene.monkeypatch.setattr(presence, "INTERVAL_S", 0.05)
    scene.work()
    eventually(lambda: _assert(scene.queue.value("SELECT count(*) FROM pgqueue.workers")))
    scene.queue.conn.execute("DELETE FROM pgqueue.workers")


def miss_a_table_of_a_duty(scene: Scene) -> Callable[[], object]:
    scene.queue.conn.execute("ALTER TABLE pgqueue.waits RENAME TO hidden")
    scene.work()
    return lambda: scene.queue.conn.execute("ALTER TABLE pgqueue.hidden RENAME TO waits")


CAUSES: dict[Fault, Cause] = {
    Fault.CONNECTION_LOST: lose_the_listener,
    Fault.LISTENER_FAILED: hide_the_table_of_workers,
    Fault.POLLING: go_through_a_pooler,
    Fault.CLAIM_FAILED: lose_the_fetcher,
    Fault.PUT_ASIDE_FAILED: pause_while_the_database_is_away,
    Fault.ACK_DELAYED: lose_the_acker,
    Fault.ACK_FAILED: refuse_everything,
    Fault.UNRECORDABLE: refuse_what_became_of_a_message,
    Fault.LEASE_LOST: give_the_message_to_somebody_else,
    Fault.RESULT_LOST: return_what_can_not_be_encoded,
    Fault.UNDECODABLE: send_bytes_that_are_no_message,
    Fault.UNKNOWN_ACTOR: send_to_an_actor_that_nobody_has,
    Fault.INVALID_ETA: send_for_an_instant_that_is_none,
    Fault.TIME_LIMIT: overrun_the_time_limit,
    Fault.LONG_TRANSACTION: hold_a_transaction,
    Fault.HOOK_FAILED: fail_in_a_hook,
    Fault.THREAD_FAILED: fail_to_fetch,
    Fault.LEFT_BEHIND: stop_before_the_end,
    Fault.HEARTBEAT_LATE: be_stopped_for_a_while,
    Fault.DECLARED_LOST: be_given_up,
    Fault.DUTY_FAILED: miss_a_table_of_a_duty,
}


@pytest.mark.parametrize("fault", CAUSES)
def test_a_worker_tells_of(scene: Scene, told: Told, fault: Fault) -> None:
    end = CAUSES[fault](scene)
    told.expect(fault)
    if end is not None:
        end()


def test_a_full_disk_is_one_line_of_a_duty_without_a_traceback(
    scene: Scene, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    scene.queue.conn.execute(
        """
        CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE disk_full USING MESSAGE = 'no room, says the test'; END $$;
        CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON pgqueue.worker_states
            FOR EACH STATEMENT EXECUTE FUNCTION public.fail();
        """,
        prepare=False,
    )
    scene.work()
    told.expect(Fault.DUTY_FAILED)
    lines = [line for line in caplog.records if "no room, says the test" in line.getMessage()]
    assert lines
    assert not any(line.exc_info for line in lines)
