"""Single workers are ordered to go quiet, to work again, and to stop."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from pgqueue.actor import actor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.maintenance.pruner import Pruner
from pgqueue.operations import crew, ordering
from pgqueue.operations.crew import Crew
from pgqueue.storage import worker_orders
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue


def _assert(fact: bool) -> None:
    assert fact


def process_of(broker: PostgresBroker) -> UUID:
    """The number of the broker's worker."""
    assert broker._session is not None
    return broker._session.process


def state_of(broker: PostgresBroker) -> str:
    (one,) = ordering.distinct(crew.list_crew(broker.database))
    return one.state


def order(broker: PostgresBroker, verb: ordering.Verb) -> None:
    """Give an order, and wait until the worker says that it obeys."""
    process = process_of(broker)
    assert ordering.order(broker.database, verb, process) == "ordered"
    assert ordering.obeyed(broker.database, [str(process)], within_s=30.0) == {str(process)}


class TestQuiet:
    def test_what_runs_ends_and_what_was_fetched_goes_back_however_long_that_takes(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
    ) -> None:
        gate = threading.Event()
        begun: list[int] = []

        @actor
        def work(number: int) -> None:
            begun.append(number)
            assert gate.wait(60.0)

        worker_for(postgres_broker, worker_threads=1)
        work.send_many([(0,), (1,)])
        eventually(lambda: _assert(begun == [0]))
        eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 0))
        order(postgres_broker, "quiet")
        # The only thread is busy still.
        eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 1), within_s=30.0)
        gate.set()
        third = work.send(2)
        eventually(
            lambda: _assert(
                queue.value("SELECT sum(cardinality(ids) - cardinality(done)) FROM pgqueue.leases")
                in {None, 0}
            ),
            within_s=30.0,
        )
        assert begun == [0]
        assert third.status().value == "queued"

        order(postgres_broker, "work")
        postgres_broker.join("default", timeout=30_000)
        assert sorted(begun) == [0, 1, 2]
        assert queue.value("SELECT sum(attempts) FROM pgqueue.outcomes") == 0

    def test_another_name_of_the_process_is_quiet_too(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
    ) -> None:
        postgres_broker.declare_queue("default")
        worker_for(postgres_broker)
        order(postgres_broker, "quiet")
        session = postgres_broker._session
        assert session is not None
        before = session.leases.current()
        session.leases.renounce()
        session.need_name()
        eventually(lambda: _assert(session.leases.current() not in {None, before}), within_s=30.0)
        eventually(
            lambda: _assert(
                queue.values(
                    "SELECT state FROM pgqueue.worker_states WHERE owner = %s", session.leases.current()
                )
                == ["quiet"]
            ),
            within_s=30.0,
        )

    def test_others_go_on(self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue) -> None:
        ran = threading.Event()

        @actor
        def work() -> None:
            ran.set()

        worker_for(postgres_broker)
        stranger = uuid4()
        queue.conn.execute(
            "INSERT INTO pgqueue.worker_orders (process, verb) VALUES (%s, 'stop')", (stranger,)
        )
        work.send()
        assert ran.wait(30.0)
        assert state_of(postgres_broker) == "working"


class TestStop:
    def test_a_program_that_runs_a_worker_is_told_once(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        told: list[int] = []
        postgres_broker.on_stop_ordered(lambda: told.append(1))
        postgres_broker.declare_queue("default")
        worker_for(postgres_broker)
        order(postgres_broker, "stop")
        assert state_of(postgres_broker) == "stopping"
        eventually(lambda: _assert(told == [1]), within_s=30.0)
        assert ordering.order(postgres_broker.database, "stop", process_of(postgres_broker)) == "already"
        assert ordering.order(postgres_broker.database, "quiet", process_of(postgres_broker)) == "stopping"
        assert ordering.order(postgres_broker.database, "work", process_of(postgres_broker)) == "stopping"
        assert told == [1]

    def test_without_that_it_begins_no_more(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
    ) -> None:
        @actor
        def work() -> None:
            raise AssertionError("it is to stop")

        caplog.set_level("INFO")
        worker_for(postgres_broker)
        order(postgres_broker, "stop")
        assert work.send().status().value == "queued"
        eventually(
            lambda: _assert("An operator has ordered this worker to stop" in caplog.text), within_s=30.0
        )

    def test_the_order_goes_with_the_worker(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
    ) -> None:
        postgres_broker.declare_queue("default")
        worker = worker_for(postgres_broker)
        order(postgres_broker, "quiet")
        worker.stop()
        assert queue.value("SELECT count(*) FROM pgqueue.worker_orders") == 0


class TestOrders:
    def test_each_outcome(self, queue: Queue) -> None:
        process = uuid4()
        assert ordering.order(queue.database, "quiet", None) == "too old"
        assert ordering.order(queue.database, "quiet", process) == "gone"
        assert ordering.order(queue.database, "work", process) == "gone"
        register(queue, process)
        assert ordering.order(queue.database, "work", process) == "already"
        assert ordering.order(queue.database, "quiet", process) == "ordered"
        assert ordering.order(queue.database, "quiet", process) == "already"
        assert ordering.order(queue.database, "work", process) == "ordered"
        assert ordering.order(queue.database, "quiet", process) == "ordered"
        assert ordering.order(queue.database, "stop", process) == "ordered"

    def test_one_that_does_not_obey_is_not_waited_for_longer_than_that(self, queue: Queue) -> None:
        process = uuid4()
        register(queue, process)
        assert ordering.order(queue.database, "quiet", process) == "ordered"
        assert ordering.obeyed(queue.database, [str(process)], within_s=0.0) == set()

    def test_those_to_workers_that_are_gone_are_forgotten_in_time(self, queue: Queue) -> None:
        gone, cut_off, present = uuid4(), uuid4(), uuid4()
        register(queue, present)
        queue.conn.execute(
            """INSERT INTO pgqueue.worker_orders (process, verb, ordered_at)
            VALUES (%s, 'quiet', now() - interval '2 hours'), (%s, 'quiet', now()),
                (%s, 'quiet', now() - interval '2 hours')""",
            (gone, cut_off, present),
        )
        Pruner(queue.statements).run_once(queue.conn)
        assert set(queue.values("SELECT process FROM pgqueue.worker_orders")) == {cut_off, present}
        worker_orders.drop(queue.conn, queue.statements, process=present)
        assert queue.values("SELECT process FROM pgqueue.worker_orders") == [cut_off]


def register(queue: Queue, process: UUID) -> None:
    owner = queue.owner()
    queue.conn.execute("UPDATE pgqueue.workers SET process = %s WHERE owner = %s", (process, owner))


class TestChoice:
    @staticmethod
    def crew_of(*processes: str, name: str = "here") -> list[Crew]:
        now = datetime.now(UTC)
        return [
            Crew(
                uuid4(),
                name,
                number,
                1,
                now,
                now,
                1.0,
                0.0,
                0,
                None,
                None,
                [],
                UUID(process),
                "working",
                None,
                None,
            )
            for number, process in enumerate(processes)
        ]

    def test_by_the_beginning_of_the_id_or_by_name(self) -> None:
        known = self.crew_of("aa" * 16, "ab" * 16)
        assert ordering.choose(known, "AA").workers == known[:1]
        assert ordering.choose(known, "ab" * 4).workers == known[1:]
        assert ordering.choose(known, "here:1").workers == known[1:]

    def test_a_process_with_two_names_is_one(self) -> None:
        known = self.crew_of("aa" * 16, "aa" * 16)
        assert ordering.choose(known, "a").workers == known[:1]
        assert len(ordering.distinct(known)) == 1

    def test_what_is_wrong_with_a_word_is_said(self) -> None:
        known = self.crew_of("aa" * 16, "ab" * 16)
        assert "give more of the id" in str(ordering.choose(known, "a").problem)
        assert "There is no worker zz" in str(ordering.choose(known, "zz").problem)
        assert ordering.choose(known, "").workers == ()
        assert ordering.choose([], "a").workers == ()
