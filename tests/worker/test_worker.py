from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import pgqueue.worker
from pgqueue.actor import actor
from pgqueue.broker import Broker
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import ConnectionFailed
from pgqueue.middleware import Middleware
from pgqueue.worker import Worker

from ..conftest import WorkerFor
from ..support.eventually import eventually
from .brokers import ManyBroker


class Lifecycle(Middleware):
    """Writes down the hooks of workers."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self.calls.append(f"before boot, {len(worker.workers)} threads")

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self.calls.append(f"after boot, {len(worker.workers)} threads")

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.calls.append(f"before shutdown, alive: {any(thread.is_alive() for thread in worker.workers)}")

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.calls.append(f"after shutdown, alive: {any(thread.is_alive() for thread in worker.workers)}")


def test_a_worker_boots_and_shuts_down_once_however_often_it_is_stopped(stub_broker: StubBroker) -> None:
    lifecycle = Lifecycle()
    stub_broker.add_middleware(lifecycle)
    worker = Worker(stub_broker, worker_timeout=100, worker_threads=2)
    worker.start()
    worker.stop()
    worker.stop()
    assert lifecycle.calls == [
        "before boot, 0 threads",
        "after boot, 2 threads",
        "before shutdown, alive: True",
        "after shutdown, alive: False",
    ]


def test_a_worker_that_was_never_started_can_be_stopped(stub_broker: StubBroker) -> None:
    Worker(stub_broker).stop()


def test_a_stopped_worker_leaves_the_broker_as_it_was(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    before = list(stub_broker.middleware)
    worker = worker_for(stub_broker)
    worker.stop()
    assert stub_broker.middleware == before
    stub_broker.declare_queue("later")
    assert worker.consumers == {}


def test_an_idle_worker_stops_without_waiting_for_its_ticks(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    stub_broker.declare_queue("default")
    worker = worker_for(stub_broker, worker_timeout=30_000)
    eventually(lambda: _assert(all(consumer.consumer for consumer in worker.consumers.values())))
    started = time.monotonic()
    worker.pause()
    worker.resume()
    worker.stop()
    assert time.monotonic() - started < 3


def test_a_paused_worker_can_be_stopped(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    worker = worker_for(stub_broker)
    worker.pause()
    worker.stop()
    assert not any(thread.is_alive() for thread in worker.workers)


def test_stop_gives_up_on_what_runs_longer_than_its_timeout(
    stub_broker: StubBroker, worker_for: WorkerFor, caplog: pytest.LogCaptureFixture
) -> None:
    running, go_on = threading.Event(), threading.Event()

    @actor
    def work() -> None:
        running.set()
        go_on.wait(10)

    worker = worker_for(stub_broker, worker_threads=1)
    work.send()
    assert running.wait(5)
    worker.stop(timeout=50)
    assert any("still running" in message for message in caplog.messages)
    go_on.set()
    stub_broker.join("default", timeout=5000)  # its ack still counts


def test_each_queue_has_a_consumer_and_its_delay_queue_another(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    for name in ("a", "b"):
        stub_broker.declare_queue(name)
    worker = worker_for(stub_broker, queues=["a", "c"])
    stub_broker.declare_queue("c")
    stub_broker.declare_queue("d")
    assert set(worker.consumers) == {"a", "a.DQ", "c", "c.DQ"}
    assert all(thread.daemon for thread in worker.consumers.values())


def test_prefetch_is_twice_the_threads_and_a_thousand_times_for_delayed_ones(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    stub_broker.declare_queue("q")
    worker = worker_for(stub_broker, worker_threads=3)
    assert (worker.queue_prefetch, worker.delay_prefetch) == (6, 3000)
    assert (worker.consumers["q"].prefetch, worker.consumers["q.DQ"].prefetch) == (6, 3000)
    many = Worker(stub_broker, worker_threads=70_000)
    assert (many.queue_prefetch, many.delay_prefetch) == (65_535, 65_535)


def test_the_constants_are_read_when_a_worker_is_made_and_the_attributes_when_a_consumer_is(
    stub_broker: StubBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pgqueue.worker, "QUEUE_PREFETCH", 7)
    monkeypatch.setattr(pgqueue.worker, "DELAY_QUEUE_PREFETCH", 11)
    worker = Worker(stub_broker, worker_timeout=100, worker_threads=1)
    assert (worker.queue_prefetch, worker.delay_prefetch) == (7, 11)
    worker.queue_prefetch = 8
    stub_broker.declare_queue("q")
    worker.start()
    assert worker.consumers["q"].prefetch == 8
    worker.stop()


def test_old_names_of_the_threads_are_kept() -> None:
    assert pgqueue.worker._ConsumerThread is pgqueue.worker.ConsumerThread
    assert pgqueue.worker._WorkerThread is pgqueue.worker.WorkerThread


def test_two_workers_share_a_broker(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    done: list[int] = []

    @actor
    def work(number: int) -> None:
        done.append(number)

    worker_for(stub_broker)
    worker_for(stub_broker)
    for number in range(300):
        work.send(number)
    stub_broker.join("default", timeout=10_000)
    assert sorted(done) == list(range(300))


# ── a broker with one consumer for all queues ─────────────────────────────────────────────────────


@pytest.fixture
def many_broker() -> ManyBroker:
    return ManyBroker(middleware=[])


def declare(broker: Broker, queue_name: str, calls: list[Any]) -> Any:
    def work(number: int) -> None:
        calls.append((queue_name, number))

    return actor(work, broker=broker, actor_name=f"work_{queue_name}", queue_name=queue_name)  # type: ignore[call-overload]


def test_one_consumer_serves_all_queues_and_those_declared_later(
    many_broker: ManyBroker, worker_for: WorkerFor
) -> None:
    calls: list[Any] = []
    a, _ignored = declare(many_broker, "a", calls), declare(many_broker, "ignored", calls)
    worker = worker_for(many_broker, queues=["a", "b"], worker_threads=3)
    b = declare(many_broker, "b", calls)
    assert many_broker.calls[0] == ("consume_many", ["a"], None, 3)
    assert ("subscribe", "b") in many_broker.calls
    assert set(worker.consumers) == {"a", "a.DQ", "b", "b.DQ"}
    assert len({id(consumer) for consumer in worker.consumers.values()}) == 1
    assert worker.consumers["a"].logger.name == "pgqueue.worker.ConsumerThread(*)"
    a.send(1)
    b.send(2)
    many_broker.join("a", timeout=5000)
    many_broker.join("b", timeout=5000)
    assert sorted(calls) == [("a", 1), ("b", 2)]


def test_the_brokers_prefetch_policy_holds_unless_somebody_chose_a_number(
    many_broker: ManyBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prefetch_of(worker: Worker) -> Any:
        worker.start()
        worker.stop()
        return next(call[2] for call in reversed(many_broker.calls) if call[0] == "consume_many")

    assert prefetch_of(Worker(many_broker, worker_timeout=50)) is None
    changed = Worker(many_broker, worker_timeout=50)
    changed.queue_prefetch = 3
    assert prefetch_of(changed) == 3
    monkeypatch.setattr(pgqueue.worker, "QUEUE_PREFETCH", 16)
    assert prefetch_of(Worker(many_broker, worker_timeout=50)) == 16


def test_the_consumer_is_told_of_each_step_of_a_message(
    many_broker: ManyBroker, worker_for: WorkerFor
) -> None:
    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: Any) -> None:
            many_broker.calls.append(("before_process_message",))

        def after_process_message(self, broker: Broker, message: Any, **_: Any) -> None:
            many_broker.calls.append(("after_process_message",))

        def after_ack(self, broker: Broker, message: Any) -> None:
            many_broker.calls.append(("after_ack",))

    many_broker.add_middleware(Spy())
    calls: list[Any] = []
    work = declare(many_broker, "a", calls)
    worker = worker_for(many_broker)
    work.send(1)
    many_broker.join("a", timeout=5000)
    worker.join()
    assert [call[0] for call in many_broker.calls if call[0] != "consume_many"] == [
        "started",
        "before_process_message",
        "settling",
        "after_process_message",
        "ack",
        "after_ack",
        "settled",
        "finished",
        "flush",
    ]


def test_stopping_hands_back_then_flushes_then_closes(many_broker: ManyBroker, worker_for: WorkerFor) -> None:
    running, go_on = threading.Event(), threading.Event()

    @actor(broker=many_broker, queue_name="a")
    def work(number: int) -> None:
        running.set()
        go_on.wait(10)

    worker = worker_for(many_broker, worker_threads=1)
    for number in range(4):
        work.send(number)
    assert running.wait(5)
    eventually(lambda: _assert(worker.work_queue.qsize() == 3))
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    eventually(lambda: _assert(not worker.workers[0].running))
    go_on.set()
    stopping.join(5)
    assert many_broker.calls[-3:] == [("requeue", [(1,), (2,), (3,)]), ("flush",), ("close",)]
    assert ("ack", (0,)) in many_broker.calls
    assert many_broker.queues["a"].qsize() == 3


def test_a_server_that_cannot_be_reached_stops_the_start(many_broker: ManyBroker) -> None:
    many_broker.failure = ConnectionFailed("nobody there")
    worker = Worker(many_broker)
    with pytest.raises(ConnectionFailed):
        worker.start()
    worker.stop()


def _assert(fact: object) -> None:
    assert fact


def test_the_name_of_a_queue_is_not_taken_for_a_list_of_queues(stub_broker: StubBroker) -> None:
    with pytest.raises(TypeError, match=r"queues=\['default'\], not queues='default'"):
        Worker(stub_broker, queues="default")
