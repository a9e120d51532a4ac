"""The database effects of exactly one run of a transactional actor commit, together with the ack."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.composition import group, pipeline
from pgqueue.middleware import GroupCallbacks, Middleware
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.storage import messages

from ..conftest import WorkerFor
from ..support.effects import Effects
from ..support.eventually import eventually
from ..support.queue import Queue
from .test_ack_fence import declare_lost

SOON: dict[str, Any] = {"min_backoff": 1, "max_backoff": 1}


@pytest.fixture
def broker(postgres_broker: PostgresBroker) -> PostgresBroker:
    postgres_broker.add_middleware(GroupCallbacks(LimiterBackend(broker=postgres_broker)))
    postgres_broker.add_middleware(
        Results(backend=PostgresBackend(broker=postgres_broker), store_results=True)
    )
    return postgres_broker


def add(what: str) -> None:
    Effects.add(pgqueue.current_transaction().connection, what)


def test_effects_sends_result_and_ack_become_visible_together(
    broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    """While the body waits with all of it done, others see none of it, and nobody runs what it sent."""
    waits, go_on = threading.Event(), threading.Event()

    @pgqueue.actor(transactional=True)
    def work() -> str:
        add("work")
        follow.send()
        waits.set()
        assert go_on.wait(20.0)
        return "done"

    @pgqueue.actor(transactional=True)
    def follow() -> None:
        add("follow")

    message = work.send()
    worker_for(broker, worker_threads=2)
    assert waits.wait(10.0)
    assert effects.seen == []
    assert queue.value("SELECT count(*) FROM pgqueue.messages WHERE actor_name = 'follow'") == 0
    assert message.status().value == "running"
    go_on.set()
    assert message.get_result(block=True, timeout=10_000) == "done"
    assert "work" in effects.seen
    assert message.status().value == "done"
    broker.join("default", timeout=10_000)
    assert effects.seen == ["follow", "work"]


def test_an_exception_undoes_everything_before_the_retry(
    broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(transactional=True, max_retries=2, **SOON)
    def work() -> str:
        runs.append(1)
        add(f"run {len(runs)}")
        follow.send(len(runs))
        if len(runs) < 3:
            raise RuntimeError("not yet")
        return "at last"

    @pgqueue.actor
    def follow(number: int) -> None:
        followed.append(number)

    runs: list[int] = []
    followed: list[int] = []
    message = work.send()
    worker_for(broker, worker_threads=1)
    assert message.get_result(block=True, timeout=10_000) == "at last"
    broker.join("default", timeout=10_000)
    assert effects.seen == ["run 3"]
    assert followed == [3]
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes WHERE actor_name = 'work'") == 1


def test_what_fails_for_good_has_had_no_effect(
    broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(transactional=True, max_retries=0, on_failure="failed")
    def work() -> None:
        add("work")
        failed.send({}, "sent by the body")
        raise RuntimeError("no")

    @pgqueue.actor
    def failed(message: dict[str, Any], error: Any) -> None:
        told.append(error if isinstance(error, str) else error["type"])

    told: list[str] = []
    work.send()
    worker_for(broker, worker_threads=1)
    eventually(lambda: _assert_equal(broker.get_queue_message_counts("default"), (0, 0, 1)))
    assert effects.seen == []
    assert told == ["RuntimeError"]
    assert queue.values("SELECT error FROM pgqueue.dead_letters") == ["RuntimeError: no"]


@pytest.mark.parametrize("error", [None, RuntimeError("in the zombie")], ids=["ack", "retry"])
def test_a_run_whose_claim_was_lost_counts_for_nothing(
    broker: PostgresBroker,
    queue: Queue,
    effects: Effects,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception | None,
) -> None:
    started, go_on = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]
    runs = iter([0, 1])

    @pgqueue.actor(transactional=True, **SOON)
    def work() -> str:
        number = next(runs)
        add(f"run {number}")
        follow.send(number)
        started[number].set()
        go_on[number].wait(20.0)
        if number == 0 and error is not None:
            raise error
        return f"run {number}"

    @pgqueue.actor
    def follow(number: int) -> None:
        followed.append(number)

    followed: list[int] = []
    message = work.send()
    worker_for(broker, worker_threads=2)
    assert started[0].wait(10.0)
    declare_lost(queue, monkeypatch)
    assert started[1].wait(10.0), "the message was not given to another"
    go_on[0].set()

    def told() -> None:
        assert any("LeaseLost" in text and message.message_id in text for text in caplog.messages)

    eventually(told)
    assert effects.seen == []
    assert message.status().value == "running"
    go_on[1].set()
    assert message.get_result(block=True, timeout=10_000) == "run 1"
    broker.join("default", timeout=10_000)
    assert effects.seen == ["run 1"]
    assert followed == [1]
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes WHERE actor_name = 'work'") == 1


def test_the_locks_of_a_run_whose_claim_was_lost_hold_up_nobody(
    broker: PostgresBroker,
    queue: Queue,
    effects: Effects,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Else whoever runs it again would wait for the same rows until the first run ends, which may be stopped."""
    started, second_is_done = threading.Event(), threading.Event()
    runs = iter([0, 1])
    effects.execute("INSERT INTO effects (what) VALUES ('none')")

    @pgqueue.actor(transactional=True, **SOON)
    def work() -> None:
        number = next(runs)
        pgqueue.current_transaction().connection.execute("UPDATE effects SET what = %s", (f"run {number}",))
        if number == 0:
            started.set()
            second_is_done.wait(20.0)

    work.send()
    worker_for(broker, worker_threads=2)
    assert started.wait(10.0)
    declare_lost(queue, monkeypatch)
    broker.join("default", timeout=10_000)
    assert effects.seen == ["run 1"]
    second_is_done.set()
    eventually(lambda: _assert_equal(any("LeaseLost" in text for text in caplog.messages), True))
    assert effects.seen == ["run 1"]


def test_it_commits_also_when_its_lease_was_moved_meanwhile(
    broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    """As the rotator does with messages that run for long."""

    runs: list[int] = []

    @pgqueue.actor(transactional=True)
    def work() -> None:
        runs.append(1)
        add("work")
        (slot, *_) = queue.values("SELECT slot FROM pgqueue.leases")
        with queue.conn.transaction():
            for table in ("messages", "leases"):
                queue.conn.execute(f"UPDATE pgqueue.{table} SET slot = {(slot + 1) % 8}".encode())

    work.send()
    worker_for(broker, worker_threads=1)
    broker.join("default", timeout=10_000)
    assert effects.seen == ["work"]
    assert runs == [1]
    assert queue.value("SELECT status::text FROM pgqueue.outcomes") == "d"


class TestFollowUps:
    def test_each_step_of_a_pipeline_and_each_callback_commits_with_its_ack(
        self, broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
    ) -> None:
        @pgqueue.actor(transactional=True)
        def step(number: int) -> int:
            add(f"step {number}")
            return number + 1

        @pgqueue.actor(transactional=True)
        def succeeded(message: dict[str, Any], result: int) -> None:
            add(f"success {result}")

        worker_for(broker, worker_threads=2)
        last = step.message_with_options(on_success="succeeded")
        middle = step.message_with_options()
        steps = pipeline([step.message(1), middle, last]).run()
        assert steps.get_result(block=True, timeout=10_000) == 4
        broker.join("default", timeout=10_000)
        assert effects.seen == ["step 1", "step 2", "step 3", "success 4"]

    def test_a_group_of_them_completes_once(
        self, broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
    ) -> None:
        @pgqueue.actor(transactional=True)
        def work(number: int) -> int:
            add(f"work {number}")
            return number

        @pgqueue.actor(transactional=True)
        def complete() -> None:
            add("complete")

        worker_for(broker, worker_threads=4)
        members = group([work.message(number) for number in range(6)])
        members.add_completion_callback(complete.message())
        members.run()
        eventually(lambda: _assert_equal(len(effects.seen), 7), within_s=10.0)
        broker.join("default", timeout=10_000)
        assert effects.seen == ["complete", *(f"work {number}" for number in range(6))]

    def test_a_hook_that_fails_the_message_undoes_the_body(
        self, broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
    ) -> None:
        """What lies among the dead letters can be sent again, and must not have had its effect already."""

        class Judge(Middleware):
            def after_process_message(self, broker: Broker, message: MessageProxy, **_: Any) -> None:
                message.fail()

        broker.add_middleware(Judge())

        @pgqueue.actor(transactional=True)
        def work() -> None:
            add("work")

        work.send()
        worker_for(broker, worker_threads=1)
        eventually(lambda: _assert_equal(broker.get_queue_message_counts("default"), (0, 0, 1)))
        assert effects.seen == []

    def test_a_result_that_can_not_be_stored_undoes_the_body(
        self,
        broker: PostgresBroker,
        queue: Queue,
        effects: Effects,
        worker_for: WorkerFor,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The database refuses it, after the body has ended; the message goes to the dead letters."""

        queue.conn.execute("ALTER TABLE pgqueue.results ADD CONSTRAINT none CHECK (key IS NULL)")

        @pgqueue.actor(transactional=True)
        def work() -> str:
            add("work")
            return "result"

        message = work.send()
        worker_for(broker, worker_threads=1)
        eventually(lambda: _assert_equal(broker.get_queue_message_counts("default"), (0, 0, 1)))
        assert effects.seen == []
        assert queue.values("SELECT reason FROM pgqueue.dead_letters") == ["unrecordable"]
        assert f"What became of message {message.message_id} can't be recorded" in caplog.text


class TestLostConnections:
    def test_one_that_is_lost_in_the_body_is_the_bodys_failure(
        self, broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
    ) -> None:
        @pgqueue.actor(transactional=True, **SOON)
        def work() -> None:
            conn = pgqueue.current_transaction().connection
            runs.append(1)
            Effects.add(conn, f"run {len(runs)}")
            if len(runs) == 1:
                queue.value("SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)

        runs: list[int] = []
        work.send()
        worker_for(broker, worker_threads=1)
        broker.join("default", timeout=10_000)
        assert effects.seen == ["run 2"]

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_one_that_is_lost_around_its_acknowledgement_leaves_all_or_nothing(
        self,
        broker: PostgresBroker,
        queue: Queue,
        effects: Effects,
        worker_for: WorkerFor,
        monkeypatch: pytest.MonkeyPatch,
        when: str,
    ) -> None:
        settle = messages.settle
        broken: list[int] = []

        def breaking(conn: psycopg.Connection[Any], *args: Any, **kwargs: Any) -> set[int]:
            if not kwargs["verdicts"] or broken:
                return settle(conn, *args, **kwargs)
            broken.append(conn.info.backend_pid)
            accepted = settle(conn, *args, **kwargs) if when == "after" else set()
            queue.value("SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)
            return accepted or settle(conn, *args, **kwargs)

        monkeypatch.setattr(messages, "settle", breaking)

        @pgqueue.actor(transactional=True)
        def work() -> None:
            runs.append(1)
            add(f"run {len(runs)}")

        runs: list[int] = []
        work.send()
        worker_for(broker, worker_threads=1)
        broker.join("default", timeout=10_000)
        assert len(broken) == 1
        assert effects.seen == ["run 2"]
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1


def test_deferred_constraints_speak_as_long_as_the_message_can_be_retried(
    broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    effects.execute("ALTER TABLE effects ADD UNIQUE (what) DEFERRABLE INITIALLY DEFERRED")

    @pgqueue.actor(transactional=True, **SOON)
    def work() -> None:
        runs.append(1)
        add("work")
        if len(runs) == 1:
            add("work")

    runs: list[int] = []
    work.send()
    worker_for(broker, worker_threads=1)
    broker.join("default", timeout=10_000)
    assert effects.seen == ["work"]
    assert len(runs) == 2


def _assert_equal(found: object, expected: object) -> None:
    assert found == expected
