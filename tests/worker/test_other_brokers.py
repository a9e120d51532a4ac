"""Brokers and consumers of a program's own, made for Dramatiq: they know its names, and use others as they like."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from pgqueue import Broker, Consumer, Message, MessageProxy, Worker, actor
from pgqueue.common import current_millis, dq_name
from pgqueue.errors import QueueNotFound
from pgqueue.middleware import Retries

from ..conftest import WorkerFor
from ..support.eventually import eventually


class TheirBroker(Broker):
    """A queue in memory, and what became of its messages."""

    def __init__(self) -> None:
        super().__init__(middleware=[Retries(min_backoff=1, max_backoff=1)])
        self.queues: dict[str, SimpleQueue[Message[Any]]] = {}
        self.delay_queues: set[str] = set()
        self.noted: list[tuple[str, str]] = []
        self.consumers: list[TheirConsumer] = []

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        self.consumers.append(TheirConsumer(self, queue_name, timeout))
        return self.consumers[-1]

    def declare_queue(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            self.queues[queue_name] = SimpleQueue()
            self.emit_after("declare_queue", queue_name)
            delayed = dq_name(queue_name)
            self.queues[delayed] = SimpleQueue()
            self.delay_queues.add(delayed)
            self.emit_after("declare_delay_queue", delayed)

    def enqueue(self, message: Any, *, delay: Any = None) -> Any:
        if delay is not None:
            message = message.copy(
                queue_name=dq_name(message.queue_name), options={"eta": current_millis() + delay}
            )
        self.queues[message.queue_name].put(message)
        return message


class TheirConsumer(Consumer):
    """Has attributes of its own under names that our workers' consumers have, too."""

    def __init__(self, broker: TheirBroker, queue_name: str, timeout: int) -> None:
        self.broker, self.queue_name = broker, queue_name
        self.timeout = timeout / 1000
        self.running, self.started, self.finished = True, None, 0
        self.order: list[str] = []
        self.pause = self.resume = self.flush = False
        self.holds, self.recalls, self.forgotten = {"a": 1}, "none", object()
        self.subscribe = self.settling = self.take_back = None

    def __next__(self) -> MessageProxy | None:
        try:
            return MessageProxy(self.broker.queues[self.queue_name].get(timeout=self.timeout))
        except Empty:
            return None

    def _note(self, act: str, message: MessageProxy) -> None:
        self.order.append(act)
        self.broker.noted.append((act, message.actor_name))

    def ack(self, message: MessageProxy) -> None:
        self._note("ack", message)

    def nack(self, message: MessageProxy) -> None:
        self._note("nack", message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            self._note("requeue", message)
            self.broker.queues[message.queue_name].put(message._message)

    def close(self) -> None:
        self.running = False


@pytest.fixture
def their_broker() -> Iterator[TheirBroker]:
    broker = TheirBroker()
    yield broker
    broker.close()


def test_a_consumers_own_attributes_are_its_own(their_broker: TheirBroker, worker_for: WorkerFor) -> None:
    """Messages run, are tried again (delayed ones wait in the worker) and rejected; a pause and a stop do as ever."""
    runs: list[str] = []

    @actor(broker=their_broker, max_retries=2)
    def flaky() -> None:
        runs.append("flaky")
        if runs.count("flaky") < 3:
            raise ValueError("not yet")

    @actor(broker=their_broker, max_retries=0)
    def hopeless() -> None:
        raise ValueError("never")

    worker = worker_for(their_broker, worker_threads=2)
    flaky.send()
    hopeless.send()
    their_broker.enqueue(Message("default", "unknown", (), {}, {}))
    eventually(lambda: assert_noted(their_broker, {("nack", "hopeless"), ("nack", "unknown")}))
    eventually(lambda: assert_runs(runs, 3))
    worker.pause()
    worker.resume()
    flaky.send()
    eventually(lambda: assert_runs(runs, 4))
    worker.join()
    worker.stop()
    assert not any(consumer.running for consumer in their_broker.consumers)
    assert all(consumer.pause is False for consumer in their_broker.consumers)
    assert [consumer.timeout for consumer in their_broker.consumers] == [0.1, 0.1]


def test_what_had_not_begun_is_handed_back_at_a_stop(their_broker: TheirBroker) -> None:
    began, go_on = threading.Event(), threading.Event()

    @actor(broker=their_broker)
    def slow() -> None:
        began.set()
        go_on.wait(10)

    for _ in range(3):
        slow.send()
    worker = Worker(their_broker, worker_threads=1, worker_timeout=20)
    worker.start()
    assert began.wait(10)
    eventually(lambda: assert_fetched(worker, 2))
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    go_on.set()
    stopping.join(10)
    assert their_broker.noted.count(("ack", "slow")) + their_broker.noted.count(("requeue", "slow")) == 3
    assert ("requeue", "slow") in their_broker.noted
    assert their_broker.queues["default"].qsize() == their_broker.noted.count(("requeue", "slow"))


def test_one_consumer_for_all_queues_may_be_of_their_kind_too(worker_for: WorkerFor) -> None:
    class OneForAll(TheirBroker):
        def consume_many(
            self, queue_names: Collection[str], *, prefetch: int | None, threads: int, timeout: int
        ) -> Consumer:
            return self.consume("default", timeout=timeout)

    broker, runs = OneForAll(), list[int]()

    @actor(broker=broker)
    def work(number: int) -> None:
        runs.append(number)

    worker_for(broker)
    broker.declare_queue("later")
    work.send(1)
    eventually(lambda: assert_runs(runs, 1))


def assert_noted(broker: TheirBroker, expected: set[tuple[str, str]]) -> None:
    assert expected <= set(broker.noted)


def assert_runs(runs: list[Any], number: int) -> None:
    assert len(runs) == number


def assert_fetched(worker: Worker, number: int) -> None:
    assert worker.work_queue.qsize() == number
