"""Pauses hold for all workers, for good, and cost a claim nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker, MessageProxy
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine.control import Standing
from pgqueue.engine.fetcher import Fetcher
from pgqueue.engine.leases import Leases
from pgqueue.message import MessageStatus
from pgqueue.middleware import Middleware
from pgqueue.storage.orders import Orders
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.plans import buffers, explained
from tests.support.queue import Queue


class Gate:
    """Lets actors begin and end in a test's order."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.open = threading.Event()

    def pass_(self, number: int) -> None:
        self.begun.append(number)
        assert self.open.wait(10.0)


def obeyed(
    broker: PostgresBroker, *, queues: frozenset[str] = frozenset(), actors: frozenset[str] = frozenset()
) -> None:
    """Wait until the broker's worker knows of what is paused."""

    def look() -> None:
        assert broker._session is not None
        known = broker._session.standing.orders
        assert (known.queues, known.actors) == (queues, actors)

    eventually(look)


def test_a_paused_queue_waits_and_others_go_on(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    ran: list[str] = []

    @actor(queue_name="mail")
    def letter() -> None:
        ran.append("mail")

    @actor
    def other() -> None:
        ran.append("other")

    assert postgres_broker.pause_queue("mail")
    assert not postgres_broker.pause_queue("mail.DQ")
    assert postgres_broker.get_paused_queues() == {"mail"}
    worker_for(postgres_broker)
    waiting = letter.send()
    other.send()
    postgres_broker.join("default", timeout=10_000)
    assert ran == ["other"]
    assert waiting.status() is MessageStatus.QUEUED

    assert postgres_broker.resume_queue("mail")
    assert not postgres_broker.resume_queue("mail")
    postgres_broker.join("mail", timeout=10_000)
    assert ran == ["other", "mail"]


def test_what_was_claimed_ahead_does_not_begin(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    gate = Gate()

    @actor
    def work(number: int) -> None:
        gate.pass_(number)

    worker_for(postgres_broker, worker_threads=1)
    work.send_many([(0,), (1,)])
    eventually(lambda: _assert(gate.begun == [0]))
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 0))
    postgres_broker.pause_queue("default")
    obeyed(postgres_broker, queues=frozenset({"default"}))
    gate.open.set()
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 1))
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1))
    assert gate.begun == [0]

    postgres_broker.resume_queue("default")
    postgres_broker.join("default", timeout=10_000)
    assert gate.begun == [0, 1]
    assert queue.values("SELECT attempts FROM pgqueue.outcomes") == [0, 0]


def test_no_hook_hears_of_what_was_claimed_ahead(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    """Who would store its result as that of a skipped message, for one, would answer a call that has yet to run."""
    heard: list[tuple[str, int]] = []

    class Hooks(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            heard.append(("before", message.args[0]))

        def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
            heard.append(("skipped", message.args[0]))

        def after_ack(self, broker: Broker, message: MessageProxy) -> None:
            heard.append(("ack", message.args[0]))

    gate = Gate()

    @actor
    def work(number: int) -> None:
        gate.pass_(number)

    postgres_broker.add_middleware(Hooks())
    worker_for(postgres_broker, worker_threads=1)
    work.send_many([(0,), (1,)])
    eventually(lambda: _assert(gate.begun == [0]))
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 0))
    postgres_broker.pause_queue("default")
    obeyed(postgres_broker, queues=frozenset({"default"}))
    gate.open.set()
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 1))
    eventually(lambda: _assert(heard == [("before", 0), ("ack", 0)]))


def test_a_paused_actor_lets_others_of_its_queue_pass(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    ran: list[int] = []

    @actor
    def work(number: int) -> None:
        ran.append(number)

    @actor
    def other(number: int) -> None:
        ran.append(number)

    assert postgres_broker.pause_actor("work")
    assert postgres_broker.get_paused_actors() == {"work"}
    worker_for(postgres_broker, worker_threads=1)
    waiting = work.send_many([(1,), (2,), (3,)])
    last = other.send(4)
    eventually(lambda: _assert(last.status() is MessageStatus.DONE))
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.parked") == 3))
    assert {message.status() for message in waiting} == {MessageStatus.QUEUED}
    assert postgres_broker.get_queue_message_counts("default") == (3, 0, 0)
    assert queue.value("SELECT count(*) FROM pgqueue.leases WHERE NOT ids <@ done") == 0
    assert ran == [4]

    assert postgres_broker.resume_actor("work")
    postgres_broker.join("default", timeout=10_000)
    # In the order in which they were put aside: two that were claimed together may follow one that was claimed alone.
    assert (ran[0], sorted(ran[1:])) == (4, [1, 2, 3])


def test_what_was_claimed_ahead_of_a_paused_actor_is_parked(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    gate = Gate()

    @actor
    def work(number: int) -> None:
        gate.pass_(number)

    worker_for(postgres_broker, worker_threads=1)
    work.send_many([(0,), (1,)])
    eventually(lambda: _assert(gate.begun == [0]))
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.ready") == 0))
    postgres_broker.pause_actor("work")
    obeyed(postgres_broker, actors=frozenset({"work"}))
    gate.open.set()
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.parked") == 1))
    postgres_broker.resume_actor("work")
    postgres_broker.join("default", timeout=10_000)
    assert gate.begun == [0, 1]


def test_what_is_parked_after_the_resume_goes_on_too(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    """A worker that had not heard of the resume yet; or a resume that broke off half-way."""
    ran: list[int] = []

    @actor
    def work() -> None:
        ran.append(1)

    postgres_broker.pause_actor("work")
    worker_for(postgres_broker)
    work.send()
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.parked") == 1))
    queue.conn.execute("DELETE FROM pgqueue.pauses")
    postgres_broker.join("default", timeout=10_000)
    assert ran == [1]


def test_a_notification_that_is_lost_delays_a_pause_by_half_a_second(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    postgres_broker.declare_queue("default")
    worker_for(postgres_broker)
    queue.conn.execute("INSERT INTO pgqueue.pauses (kind, name) VALUES ('queue', 'default')")
    obeyed(postgres_broker, queues=frozenset({"default"}))


def test_flushing_drops_what_is_parked(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    @actor
    def work() -> None:
        raise AssertionError("it is paused")

    postgres_broker.pause_actor("work")
    worker_for(postgres_broker)
    message = work.send()
    eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.parked") == 1))
    postgres_broker.flush("default")
    assert message.status() is MessageStatus.UNKNOWN
    postgres_broker.join("default", timeout=1000)


class TestClaims:
    """What a fetcher does about paused queues, and what that costs."""

    @pytest.fixture
    def standing(self) -> Standing:
        return Standing()

    @pytest.fixture
    def fetcher(self, queue: Queue, standing: Standing) -> Iterator[Fetcher]:
        leases = Leases()
        leases.adopt(queue.owner())
        made = Fetcher(queue.database, leases, ["a", "b"], need_name=lambda: None, standing=standing)
        yield made
        made.close()

    @staticmethod
    def drained(fetcher: Fetcher) -> list[str]:
        found: list[str] = []
        for _ in range(10):
            if not fetcher.worth_fetching(idle=False):
                return found
            found += [message.payload.decode() for message in fetcher.fetch(100)]
        raise AssertionError("the fetcher finds no rest")

    def test_a_resumed_queue_is_found_without_a_new_message(
        self, queue: Queue, fetcher: Fetcher, standing: Standing
    ) -> None:
        standing.orders = Orders(queues=frozenset({"a"}))
        queue.send("1", queue_name="a")
        queue.send("2", queue_name="b")
        assert self.drained(fetcher) == ["2"]
        standing.orders = Orders()
        assert self.drained(fetcher) == ["1"]

    def test_a_late_commit_into_a_paused_queue_is_neither_missed_nor_asked_for(
        self, queue: Queue, fetcher: Fetcher, standing: Standing
    ) -> None:
        queue.lane("a"), queue.lane("b")
        with queue.connect() as late:
            late.execute("BEGIN")
            queue.send("late", queue_name="a", conn=late)
            queue.send("1", queue_name="a")
            assert self.drained(fetcher) == ["1"]
            standing.orders = Orders(queues=frozenset({"a"}))
            late.execute("COMMIT")
            assert self.drained(fetcher) == []
            standing.orders = Orders()
            assert self.drained(fetcher) == ["late"]

    def test_with_all_queues_paused_there_is_nothing_to_claim(
        self, queue: Queue, fetcher: Fetcher, standing: Standing
    ) -> None:
        standing.orders = Orders(queues=frozenset({"a", "b"}))
        queue.send("1", queue_name="a")
        assert self.drained(fetcher) == []
        assert fetcher.fetch(10) == []

    def test_a_claim_reads_nothing_of_a_paused_queue(
        self, queue: Queue, fetcher: Fetcher, standing: Standing
    ) -> None:
        queue.send(*[b"x"] * 3000, queue_name="b")

        def claim_cost() -> int:
            assert len(fetcher.fetch(50)) == 50
            assert fetcher._conn is not None
            claimed, plan = explained(fetcher._conn, lambda: fetcher.fetch(50))
            assert len(claimed) == 50
            return buffers(plan)

        standing.orders = Orders(queues=frozenset({"a"}))
        before = min(claim_cost() for _ in range(3))
        queue.send(*[b"x"] * 3000, queue_name="a", priority=-1)
        standing.orders = Orders(queues=frozenset({"a"}))
        assert min(claim_cost() for _ in range(3)) <= before


def _assert(fact: bool) -> None:
    assert fact
