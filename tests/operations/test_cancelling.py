"""A message that is cancelled does not run, or not to its end, wherever it is at that moment."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import pgqueue
from pgqueue import Cancellation, Cancelled, MessageStatus, actor
from pgqueue.broker import Broker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import control
from pgqueue.errors import ResultFailure, StatementTimedOut
from pgqueue.message import Message
from pgqueue.middleware import AsyncIO
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue


def message_of(message_id: str | None = None, queue_name: str = "default") -> Message[None]:
    return Message(queue_name, "nobody", (), {}, {}, message_id=message_id)


def _assert(fact: object) -> None:
    assert fact


def requests(queue: Queue) -> list[Any]:
    return queue.values("SELECT state FROM pgqueue.cancellations")


class TestWaiting:
    @pytest.mark.parametrize("message_id", [None, "of another kind"])
    def test_a_queued_message_is_taken_out(
        self, postgres_broker: PostgresBroker, queue: Queue, message_id: str | None
    ) -> None:
        message, other = message_of(message_id), message_of()
        postgres_broker.enqueue_many([message, other])
        assert postgres_broker.cancel(message.message_id) is Cancellation.CANCELLED
        assert message.status() is MessageStatus.CANCELLED
        assert other.status() is MessageStatus.QUEUED
        assert postgres_broker.get_queue_message_counts("default") == (1, 0, 0)
        assert queue.value("SELECT foreign_id FROM pgqueue.outcomes") == message_id
        assert requests(queue) == []

    def test_a_scheduled_message_is_taken_out(self, postgres_broker: PostgresBroker) -> None:
        message = postgres_broker.enqueue(message_of(), delay=60_000)
        assert postgres_broker.cancel(message.message_id) is Cancellation.CANCELLED
        assert message.status() is MessageStatus.CANCELLED
        assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)

    def test_a_message_of_a_paused_actor_is_taken_out(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
    ) -> None:
        @actor
        def work() -> None:
            raise AssertionError("it was cancelled")

        postgres_broker.pause_actor("work")
        worker_for(postgres_broker)
        message = work.send()
        eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.parked") == 1))
        assert postgres_broker.cancel(message.message_id) is Cancellation.CANCELLED
        assert message.status() is MessageStatus.CANCELLED

    def test_a_second_time_changes_nothing(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        message = postgres_broker.enqueue(message_of())
        assert postgres_broker.cancel(message.message_id) is Cancellation.CANCELLED
        assert postgres_broker.cancel(message.message_id) is Cancellation.CANCELLED
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1

    def test_an_unknown_message_is_unknown(self, postgres_broker: PostgresBroker) -> None:
        assert postgres_broker.cancel("no such message") is Cancellation.UNKNOWN

    def test_a_message_that_has_ended_stays_as_it_is(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        @actor(max_retries=0)
        def work(fails: bool) -> None:
            if fails:
                raise RuntimeError("as told")

        worker_for(postgres_broker)
        done, failed = work.send(False), work.send(True)
        postgres_broker.join("default", timeout=10_000)
        eventually(lambda: _assert(failed.status() is MessageStatus.FAILED))
        assert postgres_broker.cancel(done.message_id) is Cancellation.DONE
        assert postgres_broker.cancel(failed.message_id) is Cancellation.FAILED
        assert done.status() is MessageStatus.DONE

    def test_a_claim_that_is_under_way_is_waited_for(
        self, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        message = postgres_broker.enqueue(message_of())
        claimer = queue.connect()
        claimer.execute("BEGIN")
        assert len(queue.claimed(queue.owner(), conn=claimer)) == 1
        answers: list[Cancellation] = []
        canceller = threading.Thread(
            target=lambda: answers.append(postgres_broker.cancel(message.message_id, timeout=0))
        )
        canceller.start()
        waiting = """SELECT count(*) FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        eventually(lambda: _assert(queue.value(waiting) == 1))
        claimer.execute("COMMIT")
        canceller.join(10.0)
        assert answers == [Cancellation.REQUESTED]
        assert requests(queue) == ["asked"]
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 0

    def test_a_lock_that_does_not_go_away_is_reported(
        self, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        message = postgres_broker.enqueue(message_of())
        with queue.connect() as holder, holder.transaction():
            holder.execute("SELECT FROM pgqueue.ready FOR UPDATE")
            with (
                pytest.raises(StatementTimedOut, match=r"0\.1 s"),
                postgres_broker.database.bounded(0.1) as conn,
            ):
                conn.execute("DELETE FROM pgqueue.ready")
        assert message.status() is MessageStatus.QUEUED


class TestRunning:
    @pytest.fixture
    def begun(self) -> threading.Event:
        return threading.Event()

    def test_its_actor_is_interrupted_and_it_is_not_tried_again(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue, begun: threading.Event
    ) -> None:
        seen: list[BaseException] = []

        @actor(cancellable=True)
        def work() -> None:
            begun.set()
            try:
                while True:
                    time.sleep(0.001)
            except BaseException as error:
                seen.append(error)
                raise

        worker_for(postgres_broker)
        message = work.send()
        assert begun.wait(10.0)
        assert postgres_broker.cancel(message.message_id, timeout=10_000) is Cancellation.CANCELLED
        assert [type(error) for error in seen] == [Cancelled]
        assert message.status() is MessageStatus.CANCELLED
        assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)
        assert requests(queue) == []

    def test_an_async_actor_is_cancelled(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, begun: threading.Event
    ) -> None:
        postgres_broker.add_middleware(AsyncIO())
        cleaned: list[str] = []

        @actor(cancellable=True)
        async def work() -> None:
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cleaned.append("up")
                raise

        worker_for(postgres_broker)
        message = work.send()
        assert begun.wait(10.0)
        assert postgres_broker.cancel(message.message_id, timeout=10_000) is Cancellation.CANCELLED
        assert cleaned == ["up"]

    def test_what_a_transactional_actor_wrote_is_undone(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue, begun: threading.Event
    ) -> None:
        queue.conn.execute("CREATE TABLE written (number integer)")

        @actor(cancellable=True, transactional=True)
        def work() -> None:
            pgqueue.current_transaction().connection.execute("INSERT INTO written VALUES (1)")
            begun.set()
            while True:
                time.sleep(0.001)

        worker_for(postgres_broker)
        message = work.send()
        assert begun.wait(10.0)
        assert postgres_broker.cancel(message.message_id, timeout=10_000) is Cancellation.CANCELLED
        assert queue.value("SELECT count(*) FROM written") == 0
        assert message.status() is MessageStatus.CANCELLED

    def test_whoever_waits_for_its_result_hears_of_it(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, begun: threading.Event
    ) -> None:
        postgres_broker.add_middleware(Results(backend=PostgresBackend(broker=postgres_broker)))

        @actor(cancellable=True, store_results=True)
        def work() -> None:
            begun.set()
            while True:
                time.sleep(0.001)

        worker_for(postgres_broker)
        message = work.send()
        assert begun.wait(10.0)
        postgres_broker.cancel(message.message_id, timeout=10_000)
        with pytest.raises(ResultFailure, match="Cancelled"):
            message.get_result(block=True, timeout=5000)

    def test_an_actor_that_does_not_allow_it_goes_on(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue, begun: threading.Event
    ) -> None:
        end = threading.Event()

        @actor
        def work() -> None:
            begun.set()
            assert end.wait(20.0)

        worker_for(postgres_broker)
        message = work.send()
        assert begun.wait(10.0)
        assert postgres_broker.cancel(message.message_id, timeout=10_000) is Cancellation.REFUSED
        assert requests(queue) == []
        end.set()
        eventually(lambda: _assert(message.status() is MessageStatus.DONE))

    def test_a_message_can_say_so_itself(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, begun: threading.Event
    ) -> None:
        @actor
        def work() -> None:
            begun.set()
            while True:
                time.sleep(0.001)

        worker_for(postgres_broker)
        message = work.send_with_options(cancellable=True)
        assert begun.wait(10.0)
        assert postgres_broker.cancel(message.message_id, timeout=10_000) is Cancellation.CANCELLED

    def test_what_was_claimed_ahead_does_not_begin(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue, begun: threading.Event
    ) -> None:
        """Whatever its actor allows."""
        end, ran = threading.Event(), list[int]()

        @actor
        def work(number: int) -> None:
            ran.append(number)
            begun.set()
            assert end.wait(20.0)

        worker_for(postgres_broker, worker_threads=1)
        _, ahead = work.send_many([(0,), (1,)])
        assert begun.wait(10.0)
        eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 0))
        assert postgres_broker.cancel(ahead.message_id, timeout=50) is Cancellation.REQUESTED
        session = postgres_broker._session
        assert session is not None
        eventually(lambda: _assert(ahead.message_id in session.standing.orders.cancelled))
        end.set()
        eventually(lambda: _assert(ahead.status() is MessageStatus.CANCELLED))
        assert ran == [0]
        eventually(lambda: _assert(requests(queue) == []))

    def test_an_actor_that_swallows_it_and_fails_is_not_tried_again(
        self,
        postgres_broker: PostgresBroker,
        worker_for: WorkerFor,
        queue: Queue,
        begun: threading.Event,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(control, "SETTLED_AFTER_S", 0.0)

        @actor(cancellable=True, min_backoff=60_000)
        def work() -> None:
            begun.set()
            try:
                while True:
                    time.sleep(0.001)
            except Cancelled:
                raise RuntimeError("something else") from None

        worker_for(postgres_broker)
        message = work.send()
        assert begun.wait(10.0)
        assert postgres_broker.cancel(message.message_id, timeout=10_000) is Cancellation.CANCELLED
        assert message.status() is MessageStatus.CANCELLED
        assert queue.value("SELECT count(*) FROM pgqueue.scheduled") == 0

    def test_a_request_outlives_the_worker_that_held_the_message(
        self,
        postgres_broker: PostgresBroker,
        worker_for: WorkerFor,
        queue: Queue,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(control, "SETTLED_AFTER_S", 0.0)

        @actor
        def work() -> None:
            raise AssertionError("it was cancelled")

        message = work.send()
        owner = queue.owner()
        assert len(queue.claimed(owner)) == 1
        assert postgres_broker.cancel(message.message_id, timeout=0) is Cancellation.REQUESTED
        queue.conn.execute(
            "UPDATE pgqueue.workers SET seen_at = now() - interval '1 hour' WHERE owner = %s", (owner,)
        )
        monkeypatch.setattr("pgqueue.maintenance.reaper.CALM_S", 0.0)
        worker_for(postgres_broker)
        eventually(lambda: _assert(message.status() is MessageStatus.CANCELLED), within_s=15.0)
        eventually(lambda: _assert(requests(queue) == []))

    def test_a_notification_that_is_lost_delays_it_by_half_a_second(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue, begun: threading.Event
    ) -> None:
        @actor(cancellable=True)
        def work() -> None:
            begun.set()
            while True:
                time.sleep(0.001)

        worker_for(postgres_broker)
        message = work.send()
        assert begun.wait(10.0)
        queue.conn.execute(
            "INSERT INTO pgqueue.cancellations (message_id) VALUES (%s)", (message.message_id,)
        )
        eventually(lambda: _assert(message.status() is MessageStatus.CANCELLED))

    def test_a_refusal_that_nobody_fetches_is_forgotten(
        self,
        postgres_broker: PostgresBroker,
        worker_for: WorkerFor,
        queue: Queue,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(control, "REFUSED_FOR_S", 0.0)
        queue.conn.execute(
            "INSERT INTO pgqueue.cancellations (message_id, state) VALUES (gen_random_uuid(), 'refused')"
        )
        postgres_broker.declare_queue("default")
        worker_for(postgres_broker)
        eventually(lambda: _assert(requests(queue) == []))


@pytest.mark.parametrize("order", ["cancel", "pause_queue", "resume_queue", "pause_actor", "resume_actor"])
def test_a_broker_that_takes_no_orders_says_so(stub_broker: Broker, order: str) -> None:
    with pytest.raises(NotImplementedError, match=r"StubBroker can't .* mail"):
        getattr(stub_broker, order)("mail")


def test_messages_are_cancelled_once_or_run_once_however_they_race(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    ran: list[int] = []

    @actor
    def work(number: int) -> None:
        ran.append(number)

    sent = work.send_many([(number,) for number in range(300)])
    worker_for(postgres_broker, worker_threads=2)
    results = {
        message.args[0]: postgres_broker.cancel(message.message_id, timeout=5000)
        for message in reversed(sent)
    }
    postgres_broker.join("default", timeout=20_000)
    cancelled = {number for number, result in results.items() if result is Cancellation.CANCELLED}
    assert set(results.values()) <= {
        Cancellation.CANCELLED,
        Cancellation.DONE,
        Cancellation.REFUSED,
    }
    assert cancelled.isdisjoint(ran)
    assert sorted(ran) == sorted(set(range(300)) - cancelled)
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 300
