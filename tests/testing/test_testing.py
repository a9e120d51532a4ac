"""What programs' tests do with their messages, on both brokers."""

from __future__ import annotations

import time
from datetime import timedelta

import psycopg
import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.middleware import AsyncIO, CurrentMessage
from pgqueue.testing import (
    Bench,
    CrashPoint,
    assert_enqueued,
    assert_not_enqueued,
    drain,
    enqueued,
    inline,
)

HOUR_MS = 3_600_000


@pytest.fixture(params=["stub", "postgres"])
def broker(request: pytest.FixtureRequest) -> pgqueue.Broker:
    """Each broker, as the process's."""
    made: pgqueue.Broker = request.getfixturevalue(f"{request.param}_broker")
    return made


def test_messages_and_what_they_send_run_in_this_thread(broker: pgqueue.Broker) -> None:
    ran: list[int] = []

    @pgqueue.actor
    def count_down(number: int) -> int:
        ran.append(number)
        if number:
            count_down.send(number - 1)
        return number

    count_down.send(3)
    runs = drain(broker)
    assert ran == [3, 2, 1, 0]
    assert [run.result for run in runs] == [3, 2, 1, 0]
    assert drain(broker) == []


def test_steps_take_the_most_urgent_first_and_tell_what_became_of_it(broker: pgqueue.Broker) -> None:
    @pgqueue.actor(max_retries=0)
    def fail(text: str) -> None:
        raise ValueError(text)

    @pgqueue.actor(queue_name="other")
    def fine() -> str:
        return "fine"

    with Bench(broker) as bench:
        assert bench.step() is None
        fine.send()
        first = bench.step()
        assert first is not None
        assert (first.result, first.exception, first.failed) == ("fine", None, False)
        fail.send("no")
        second = bench.step()
        assert second is not None
        assert second.failed
        assert repr(second.exception) == "ValueError('no')"
        assert bench.step() is None


def test_what_fails_for_good_is_raised(broker: pgqueue.Broker) -> None:
    @pgqueue.actor(max_retries=0)
    def fail() -> None:
        raise ZeroDivisionError("for good")

    fail.send()
    with pytest.raises(ZeroDivisionError, match="for good"):
        drain(broker)
    fail.send()
    assert [run.failed for run in drain(broker, fail_fast=False)] == [True]


def test_delayed_messages_and_retries_wait_until_their_time_is_said_to_have_come(
    broker: pgqueue.Broker,
) -> None:
    ran: list[str] = []

    @pgqueue.actor(min_backoff=HOUR_MS, max_retries=2)
    def flaky(name: str) -> None:
        ran.append(name)
        if ran.count(name) < 3:
            raise RuntimeError("again")

    flaky.send_with_options(args=("late",), delay=HOUR_MS)
    with Bench(broker) as bench:
        assert bench.drain() == []
        bench.advance(HOUR_MS - 60_000)
        assert bench.drain() == []
        bench.advance(timedelta(minutes=2))
        bench.drain()
        assert ran == ["late"]
        began = time.monotonic()
        bench.drain(delayed=True)
        assert time.monotonic() - began < HOUR_MS / 1000
    assert ran == ["late"] * 3
    assert enqueued(broker) == []


def test_delayed_messages_run_in_the_order_of_their_time(broker: pgqueue.Broker) -> None:
    ran: list[int] = []
    note = pgqueue.actor(actor_name="note")(ran.append)
    for number in (3, 1, 2):
        note.send_with_options(args=(number,), delay=number * HOUR_MS)
    drain(broker, delayed=True)
    assert ran == [1, 2, 3]


def test_an_endless_chain_is_told(broker: pgqueue.Broker) -> None:
    @pgqueue.actor
    def again() -> None:
        again.send()

    again.send()
    with pytest.raises(AssertionError, match="20 messages were run"):
        drain(broker, limit=20)


def test_an_actor_that_nobody_declares_fails(broker: pgqueue.Broker) -> None:
    broker.declare_queue("default")
    broker.enqueue(pgqueue.Message(queue_name="default", actor_name="nobody", args=(), kwargs={}, options={}))
    (run,) = drain(broker, fail_fast=False)
    assert run.failed


class TestLooking:
    def test_what_waits_is_found(self, broker: pgqueue.Broker) -> None:
        @pgqueue.actor
        def note(*args: int, **kwargs: int) -> None: ...

        @pgqueue.actor(queue_name="other")
        def other() -> None: ...

        note.send(1, two=2)
        note.send_with_options(args=(3,), delay=HOUR_MS)
        (found,) = assert_enqueued(note, args=[1], kwargs={"two": 2}, delayed=False)
        assert found.delay_ms is None
        (later,) = assert_enqueued(note, delayed=True, count=1)
        assert later.delay_ms == pytest.approx(HOUR_MS, abs=60_000)
        assert len(assert_enqueued(note)) == 2
        assert_not_enqueued(note, args=[2])
        assert_not_enqueued(other)
        other.send()
        assert [each.message.actor_name for each in enqueued(broker, queue_name="other")] == ["other"]
        assert [each.message.actor_name for each in enqueued(broker, other)] == ["other"]
        assert len(enqueued(broker)) == 3

    def test_what_is_missing_is_told_with_what_is_there(self, broker: pgqueue.Broker) -> None:
        @pgqueue.actor
        def note(number: int) -> None: ...

        with pytest.raises(AssertionError, match="What waits: nothing"):
            assert_enqueued(note)
        note.send(1)
        with pytest.raises(AssertionError, match=r"found 0\. What waits:\n  note\(1\) on 'default'"):
            assert_enqueued(note, args=(2,))
        with pytest.raises(AssertionError, match="Expected 2 messages"):
            assert_enqueued(note, count=2)
        with pytest.raises(AssertionError, match="Expected 0 messages"):
            assert_not_enqueued(note)


class TestInline:
    def test_messages_run_within_the_call_that_sends_them(self, broker: pgqueue.Broker) -> None:
        ran: list[int] = []

        @pgqueue.actor
        def note(number: int) -> None:
            if number < 2:
                note.send(number + 1)
            ran.append(number)

        with inline(broker) as bench:
            note.send(0)
            assert ran == [0, 1, 2]
            note.send_with_options(args=(5,), delay=HOUR_MS)
            assert ran == [0, 1, 2]
            bench.advance(2 * HOUR_MS)
        assert ran == [0, 1, 2, 5]
        note.send(9)
        assert 9 not in ran

    def test_a_failure_is_raised_at_the_end(self, broker: pgqueue.Broker) -> None:
        @pgqueue.actor(max_retries=0)
        def fail() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError), inline(broker):  # noqa: PT012  # what comes after it still runs
            fail.send()
            assert enqueued(broker) == []


class TestCrashes:
    @pytest.mark.parametrize("at", [CrashPoint.FETCHED, CrashPoint.RAN, CrashPoint.SETTLED])
    def test_the_message_is_delivered_again(self, broker: pgqueue.Broker, at: CrashPoint) -> None:
        ran: list[int] = []
        note = pgqueue.actor(actor_name="note")(ran.append)
        note.send(1)
        with Bench(broker) as bench:
            lost = bench.crash(at)
            assert ran == ([] if at is CrashPoint.FETCHED else [1])
            run = bench.step()
            assert run is not None
            assert run.message.message_id == lost.message_id
            assert bench.step() is None
        assert ran[-1:] == [1]

    def test_attempts_are_charged_for_what_ran_and_three_are_enough(
        self, postgres_broker: PostgresBroker
    ) -> None:
        note = pgqueue.actor(actor_name="note")(lambda: None)
        sent = note.send()
        with Bench(postgres_broker) as bench:
            bench.crash(CrashPoint.FETCHED)
            assert getattr(bench.crash(CrashPoint.RAN), "attempts", None) == 0
            assert getattr(bench.crash(CrashPoint.SETTLED), "attempts", None) == 1
            assert getattr(bench.crash(CrashPoint.RAN), "attempts", None) == 2
            assert bench.step() is None
        assert postgres_broker.get_message_status(sent.message_id) is pgqueue.MessageStatus.FAILED

    def test_a_pipeline_goes_on_once_whatever_the_crash(self, postgres_broker: PostgresBroker) -> None:
        ran: list[str] = []

        @pgqueue.actor
        def note(name: str, *_: object) -> str:
            ran.append(name)
            return name

        (note.message("first") | note.message("second")).run()
        with Bench(postgres_broker) as bench:
            bench.crash(CrashPoint.SETTLED)
            bench.drain()
        assert sorted(ran) == ["first", "first", "second"]

    def test_a_transactional_actors_effects_are_undone(
        self, postgres_broker: PostgresBroker, database_url: str
    ) -> None:
        @pgqueue.actor(transactional=True)
        def write() -> None:
            pgqueue.current_transaction().connection.execute("INSERT INTO effects VALUES (1)")

        with psycopg.connect(database_url, autocommit=True) as conn:
            conn.execute("CREATE TABLE effects (number integer)")
            write.send()
            with Bench(postgres_broker) as bench:
                for at in (CrashPoint.RAN, CrashPoint.SETTLED):
                    bench.crash(at)
                    assert conn.execute("SELECT count(*) FROM effects").fetchone() == (0,)
                bench.drain()
            assert conn.execute("SELECT count(*) FROM effects").fetchone() == (1,)

    def test_without_a_message_there_is_no_crash(self, broker: pgqueue.Broker) -> None:
        broker.declare_queue("default")
        with Bench(broker) as bench, pytest.raises(LookupError):
            bench.crash()


def test_async_actors_and_middleware_work_as_in_a_worker(broker: pgqueue.Broker) -> None:
    if not any(isinstance(each, AsyncIO) for each in broker.middleware):
        broker.add_middleware(AsyncIO())
    broker.add_middleware(CurrentMessage())
    seen: list[str] = []

    @pgqueue.actor
    async def note() -> None:
        message = CurrentMessage.get_current_message()
        assert message is not None
        seen.append(message.message_id)

    sent = note.send()
    before = list(broker.middleware)
    drain(broker)
    assert seen == [sent.message_id]
    assert broker.middleware == before


def test_other_brokers_are_refused() -> None:
    with pytest.raises(TypeError, match="is for PostgresBroker and StubBroker"):
        drain(pgqueue.Broker())


def test_the_stubs_own_tests_still_see_their_queue(stub_broker: StubBroker) -> None:
    note = pgqueue.actor(actor_name="note")(lambda: None)
    note.send()
    assert stub_broker.queues["default"].qsize() == 1
    drain(stub_broker)
    stub_broker.join("default", timeout=1000)
