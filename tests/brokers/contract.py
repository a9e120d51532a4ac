"""What every broker must do, as Dramatiq's brokers do it: run by test_contract.py on each of ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pgqueue.actor import actor
from pgqueue.broker import Broker, Consumer, MessageProxy
from pgqueue.brokers.stub import StubBroker
from pgqueue.common import current_millis
from pgqueue.encoder import Encoder, PickleEncoder, get_encoder, set_encoder
from pgqueue.errors import ActorNotFound, QueueJoinTimeout, SkipMessage
from pgqueue.message import Message
from pgqueue.middleware import Middleware

from ..conftest import WorkerFor
from ..support.eventually import eventually

#: Milliseconds that nothing here takes unless it is broken.
PATIENCE = 10_000


def join(broker: Broker, queue_name: str = "default", *, timeout: int = PATIENCE) -> None:
    """Wait for a queue without minding failures."""
    if isinstance(broker, StubBroker):
        broker.join(queue_name, timeout=timeout, fail_fast=False)
    else:
        broker.join(queue_name, timeout=timeout)


def dead_letter_count(broker: Broker, queue_name: str = "default") -> int:
    """How many messages of a queue have been rejected."""
    if isinstance(broker, StubBroker):
        return len(broker.dead_letters_by_queue[queue_name])
    counts: tuple[int, int, int] = broker.get_queue_message_counts(queue_name)  # type: ignore[attr-defined]
    return counts[2]


Consume = Callable[..., Consumer]


@pytest.fixture
def consume(broker: Broker) -> Iterator[Consume]:
    """``broker.consume``, whose consumers are closed after the test."""
    opened: list[Consumer] = []

    def open_consumer(queue_name: str, **options: Any) -> Consumer:
        opened.append(broker.consume(queue_name, **options))
        return opened[-1]

    yield open_consumer
    for consumer in opened:
        consumer.close()


def next_message(consumer: Consumer) -> MessageProxy:
    """The next message, skipping the Nones of idle moments."""

    def fetched() -> MessageProxy:
        message = next(consumer)
        assert message is not None
        return message

    return eventually(fetched)


def message_for(broker: Broker, *args: Any, **options: Any) -> Message[Any]:
    broker.declare_queue("default")
    return Message("default", "work", args, {}, options)


# ── sending ───────────────────────────────────────────────────────────────────────────────────────


def test_a_message_without_delay_is_returned_as_it_was_sent(broker: Broker) -> None:
    message = message_for(broker, 1)
    assert broker.enqueue(message) == message


@pytest.mark.parametrize("delay", [0, 60_000])
def test_a_delayed_message_is_returned_as_a_copy_on_the_delay_queue(broker: Broker, delay: int) -> None:
    message = message_for(broker, 1)
    before = current_millis()
    sent = broker.enqueue(message, delay=delay)
    assert sent.queue_name == "default.DQ"
    assert before + delay <= sent.options["eta"] <= current_millis() + delay
    assert sent.message_id == message.message_id
    assert message.queue_name == "default"
    assert "eta" not in message.options


def test_the_enqueue_hooks_are_told_of_the_message_and_its_delay(broker: Broker) -> None:
    calls: list[tuple[str, str, int | None]] = []

    class Spy(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            calls.append(("before", message.queue_name, delay))

        def after_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            calls.append(("after", message.queue_name, delay))

    broker.add_middleware(Spy())
    broker.enqueue(message_for(broker))
    broker.enqueue(message_for(broker), delay=60_000)
    assert calls == [
        ("before", "default", None),
        ("after", "default", None),
        ("before", "default.DQ", 60_000),
        ("after", "default.DQ", 60_000),
    ]


def test_what_before_enqueue_puts_into_the_options_is_sent(broker: Broker, consume: Consume) -> None:
    class Marker(Middleware):
        def before_enqueue(self, broker: Broker, message: Any, delay: int | None) -> None:
            message.options["mark"] = "put here"

    broker.add_middleware(Marker())
    broker.enqueue(message_for(broker))
    message = next_message(consume("default", timeout=100))
    assert message.options["mark"] == "put here"


def test_an_argument_that_cannot_be_encoded_is_refused_and_nothing_is_sent(
    broker: Broker, consume: Consume
) -> None:
    with pytest.raises(TypeError):
        broker.enqueue(message_for(broker, object()))
    assert next(consume("default", timeout=50)) is None


def test_messages_of_any_encoder_arrive_as_they_were(broker: Broker, consume: Consume) -> None:
    usual = get_encoder()
    set_encoder(PickleEncoder())
    try:
        sent = broker.enqueue(message_for(broker, {1, 2}, b"\x00\xff"))
        assert next_message(consume("default", timeout=100)) == sent
    finally:
        set_encoder(usual)


# ── declarations ──────────────────────────────────────────────────────────────────────────────────


def test_a_queue_is_declared_once_and_its_delay_queue_after_it(broker: Broker) -> None:
    calls: list[tuple[str, str]] = []

    class Spy(Middleware):
        def before_declare_queue(self, broker: Broker, queue_name: str) -> None:
            calls.append(("before", queue_name))

        def after_declare_queue(self, broker: Broker, queue_name: str) -> None:
            calls.append(("after", queue_name))

        def after_declare_delay_queue(self, broker: Broker, queue_name: str) -> None:
            calls.append(("delay", queue_name))

    broker.add_middleware(Spy())
    broker.declare_queue("letters")
    broker.declare_queue("letters")
    assert calls == [("before", "letters"), ("after", "letters"), ("delay", "letters.DQ")]
    assert broker.get_declared_delay_queues() == {"letters.DQ"}


# ── consuming ─────────────────────────────────────────────────────────────────────────────────────


def test_a_consumer_yields_none_when_there_is_nothing(broker: Broker, consume: Consume) -> None:
    broker.declare_queue("default")
    consumer = consume("default", timeout=50)
    started = time.monotonic()
    assert next(consumer) is None
    assert time.monotonic() - started < 5


def test_a_consumer_yields_what_was_sent(broker: Broker, consume: Consume) -> None:
    sent = broker.enqueue(message_for(broker, 1, "two"))
    message = next_message(consume("default", timeout=100))
    assert message == sent
    assert not message.failed


def test_no_more_than_the_prefetch_is_handed_out(broker: Broker, consume: Consume) -> None:
    for _ in range(3):
        broker.enqueue(message_for(broker))
    consumer = consume("default", prefetch=2, timeout=50)
    held = [next_message(consumer), next_message(consumer)]
    assert next(consumer) is None
    consumer.ack(held[0])
    assert next_message(consumer) not in held


def test_an_acknowledged_message_is_gone(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    consumer = consume("default", timeout=50)
    consumer.ack(next_message(consumer))
    assert consumer.flush(5)
    join(broker)
    assert dead_letter_count(broker) == 0


def test_a_rejected_message_waits_in_the_dead_letter_queue(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    consumer = consume("default", timeout=50)
    message = next_message(consumer)
    message.fail()
    consumer.nack(message)
    assert consumer.flush(5)
    join(broker)
    assert dead_letter_count(broker) == 1


def test_acknowledging_a_message_that_is_not_held_changes_nothing(broker: Broker, consume: Consume) -> None:
    stranger = MessageProxy(message_for(broker))
    consumer = consume("default", timeout=50)
    consumer.ack(stranger)
    consumer.nack(stranger)
    assert dead_letter_count(broker) == 0


def test_acknowledging_a_message_twice_is_like_once(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    broker.enqueue(message_for(broker))
    consumer = consume("default", prefetch=2, timeout=50)
    first, second = next_message(consumer), next_message(consumer)
    consumer.ack(first)
    consumer.ack(first)
    with pytest.raises(QueueJoinTimeout):
        join(broker, timeout=50)
    consumer.ack(second)
    join(broker)


def test_a_message_that_was_handed_back_is_there_for_others_at_once(broker: Broker, consume: Consume) -> None:
    sent = [broker.enqueue(message_for(broker, n)) for n in range(3)]
    first = consume("default", prefetch=3, timeout=50)
    held = [next_message(first) for _ in range(3)]
    first.requeue(iter(held))
    first.close()
    second = consume("default", prefetch=3, timeout=50)
    assert [next_message(second) for _ in range(3)] == sent


def test_handing_back_nothing_is_allowed(broker: Broker, consume: Consume) -> None:
    broker.declare_queue("default")
    consume("default", timeout=50).requeue([])


class Garbler(Encoder):
    """Writes what nobody can read."""

    def encode(self, data: dict[str, Any]) -> bytes:
        return b"\xff\x00 no message"

    def decode(self, data: bytes) -> dict[str, Any]:
        raise AssertionError("not for reading")


def test_what_cannot_be_decoded_is_rejected_and_stops_nobody(broker: Broker, consume: Consume) -> None:
    usual = get_encoder()
    set_encoder(Garbler())
    try:
        broker.enqueue(message_for(broker))
    finally:
        set_encoder(usual)
    sent = broker.enqueue(message_for(broker, "readable"))
    consumer = consume("default", timeout=50)
    message = next_message(consumer)
    assert message == sent
    consumer.ack(message)
    consumer.flush(5)
    eventually(lambda: _assert_equal(dead_letter_count(broker), 1))
    join(broker)


def _assert_equal(actual: object, expected: object) -> None:
    assert actual == expected


# ── dropping and waiting ──────────────────────────────────────────────────────────────────────────


def test_flush_drops_waiting_and_delayed_messages(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    broker.enqueue(message_for(broker), delay=60_000)
    broker.flush("default")
    join(broker)
    assert next(consume("default", timeout=50)) is None


def test_flush_all_drops_the_messages_and_dead_letters_of_every_queue(
    broker: Broker, consume: Consume
) -> None:
    for name in ("one", "two"):
        broker.declare_queue(name)
        broker.enqueue(Message(name, "work", (), {}, {}))
        consumer = consume(name, timeout=50)
        consumer.nack(next_message(consumer))
        consumer.flush(5)
        broker.enqueue(Message(name, "work", (), {}, {}))
    broker.flush_all()
    for name in ("one", "two"):
        join(broker, name)
        assert dead_letter_count(broker, name) == 0


@pytest.mark.parametrize("delay", [None, 60_000])
def test_join_gives_up_after_its_timeout(broker: Broker, delay: int | None) -> None:
    broker.enqueue(message_for(broker), delay=delay)
    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=50)


def test_join_waits_for_messages_in_progress(broker: Broker, consume: Consume) -> None:
    broker.enqueue(message_for(broker))
    consumer = consume("default", timeout=50)
    message = next_message(consumer)
    with pytest.raises(QueueJoinTimeout):
        broker.join("default", timeout=50)
    consumer.ack(message)
    join(broker)


def test_join_never_misses_a_message_that_is_being_retried(broker: Broker, worker_for: WorkerFor) -> None:
    attempts: list[int] = []

    @actor(broker=broker, max_retries=20, min_backoff=0, max_backoff=0)
    def stubborn() -> None:
        attempts.append(1)
        if len(attempts) % 10:
            raise RuntimeError("again")

    worker_for(broker)
    for expected in (10, 20, 30):
        stubborn.send()
        join(broker)
        assert len(attempts) == expected


# ── with a worker ─────────────────────────────────────────────────────────────────────────────────


def test_a_worker_runs_what_was_sent(broker: Broker, worker_for: WorkerFor) -> None:
    calls: list[tuple[int, str]] = []

    @actor(broker=broker)
    def work(number: int, *, word: str) -> None:
        calls.append((number, word))

    worker_for(broker)
    work.send(1, word="x")
    join(broker)
    assert calls == [(1, "x")]


def test_one_thread_runs_equal_messages_in_the_order_of_sending(
    broker: Broker, worker_for: WorkerFor
) -> None:
    calls: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        calls.append(number)

    for number in range(200):
        work.send(number)
    worker_for(broker, worker_threads=1)
    join(broker)
    assert calls == list(range(200))


def test_fetched_messages_run_by_their_actors_priority(broker: Broker, worker_for: WorkerFor) -> None:
    running, go_on = threading.Event(), threading.Event()
    calls: list[str] = []

    @actor(broker=broker)
    def block() -> None:
        running.set()
        go_on.wait(10)

    @actor(broker=broker, priority=10)
    def late() -> None:
        calls.append("late")

    @actor(broker=broker, priority=5)
    def soon() -> None:
        calls.append("soon")

    worker = worker_for(broker, worker_threads=1)
    worker.pause()
    worker.queue_prefetch = 20
    block.send()
    late.send()
    soon.send()
    worker.resume()
    assert running.wait(10)
    go_on.set()
    join(broker)
    assert sorted(calls) == ["late", "soon"]
    if not isinstance(broker, StubBroker):
        assert calls == ["soon", "late"]  # priorities that hold in the queue, not only among fetched messages


def test_a_delayed_message_arrives_when_due_as_if_it_had_not_been_delayed(
    broker: Broker, worker_for: WorkerFor
) -> None:
    arrivals: list[tuple[float, str, dict[str, Any]]] = []

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            arrivals.append((time.time() * 1000, message.queue_name, dict(message.options)))

    broker.add_middleware(Spy())

    @actor(broker=broker)
    def work() -> None:
        pass

    worker_for(broker)
    sent = work.send_with_options(delay=150)
    join(broker)
    [(moment, queue_name, options)] = arrivals
    assert sent.options["eta"] <= moment + 5  # the clock of the server may not be ours to the millisecond
    assert queue_name == "default"
    assert "eta" not in options


def test_a_failing_message_is_retried_as_itself_and_then_rejected(
    broker: Broker, worker_for: WorkerFor
) -> None:
    seen: list[tuple[str, int]] = []

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            seen.append((message.message_id, message.options.get("retries", 0)))

    broker.add_middleware(Spy())

    @actor(broker=broker, max_retries=3, min_backoff=0, max_backoff=0)
    def fail() -> None:
        raise RuntimeError("always")

    worker_for(broker)
    sent = fail.send()
    join(broker)
    assert seen == [(sent.message_id, retries) for retries in range(4)]
    assert dead_letter_count(broker) == 1


def test_a_message_for_an_unknown_actor_is_rejected(broker: Broker, worker_for: WorkerFor) -> None:
    calls: list[tuple[str, type]] = []

    class Spy(Middleware):
        def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
            calls.append(("process", type(None)))

        def before_nack(self, broker: Broker, message: MessageProxy) -> None:
            calls.append(("nack", type(message._exception)))

    broker.add_middleware(Spy())
    broker.enqueue(message_for(broker))
    worker_for(broker)
    eventually(lambda: _assert_equal(dead_letter_count(broker), 1))
    join(broker)
    assert calls == [("nack", ActorNotFound)]


class HookSpy(Middleware):
    """Writes down the hooks of messages."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("before_process_message")
        if message.args == ("skip",):
            raise SkipMessage("by name")
        if message.args == ("fail quietly",):
            message.fail()

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        self.calls.append(f"after_process_message({result}, {type(exception).__name__})")

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("after_skip_message")

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("before_ack")

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("after_ack")

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("before_nack")

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        self.calls.append("after_nack")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("return", ["actor", "after_process_message(7, NoneType)", "before_ack", "after_ack"]),
        ("raise", ["actor", "after_process_message(None, RuntimeError)", "before_nack", "after_nack"]),
        ("skip", ["after_skip_message", "before_ack", "after_ack"]),
        ("fail quietly", ["after_process_message(None, NoneType)", "before_nack", "after_nack"]),
    ],
)
def test_the_hooks_of_a_message_come_in_their_order(
    broker: Broker, worker_for: WorkerFor, order: str, expected: list[str]
) -> None:
    spy = HookSpy()
    broker.add_middleware(spy)

    @actor(broker=broker, max_retries=0, pipe_ignore=True)
    def work(order: str) -> int:
        spy.calls.append("actor")
        if order == "raise":
            raise RuntimeError("as told")
        return 7

    worker_for(broker)
    work.send(order)
    join(broker)
    eventually(lambda: _assert_equal(spy.calls, ["before_process_message", *expected]))


def test_a_queue_that_is_declared_later_is_served_too(broker: Broker, worker_for: WorkerFor) -> None:
    worker_for(broker)
    calls: list[int] = []

    @actor(broker=broker, queue_name="later")
    def work() -> None:
        calls.append(1)

    work.send()
    work.send_with_options(delay=10)
    join(broker, "later")
    assert calls == [1, 1]


def test_only_the_given_queues_are_served(broker: Broker, worker_for: WorkerFor) -> None:
    calls: list[str] = []

    def work(name: str) -> None:
        calls.append(name)

    wanted = actor(work, broker=broker, actor_name="wanted", queue_name="wanted")  # type: ignore[call-overload]
    other = actor(work, broker=broker, actor_name="other", queue_name="other")  # type: ignore[call-overload]
    worker_for(broker, queues=["wanted"])
    other.send("other")
    wanted.send("wanted")
    join(broker, "wanted")
    with pytest.raises(QueueJoinTimeout):
        join(broker, "other", timeout=150)
    assert calls == ["wanted"]


def test_a_paused_worker_runs_nothing_and_resumes_at_once(broker: Broker, worker_for: WorkerFor) -> None:
    calls: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        calls.append(number)

    worker = worker_for(broker)
    work.send(1)
    join(broker)
    worker.pause()
    work.send(2)
    with pytest.raises(QueueJoinTimeout):
        join(broker, timeout=150)
    assert calls == [1]
    started = time.monotonic()
    worker.resume()
    join(broker)
    assert calls == [1, 2]
    assert time.monotonic() - started < 2.5  # less than the delay before a consumer is restarted


def test_a_stopping_worker_finishes_what_runs_and_hands_back_the_rest(
    broker: Broker, worker_for: WorkerFor
) -> None:
    running, go_on = threading.Semaphore(0), threading.Event()
    done: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        running.release()
        go_on.wait(10)
        done.append(number)

    first = worker_for(broker, worker_threads=2)
    for number in range(10):
        work.send(number)
    for _ in range(2):
        assert running.acquire(timeout=10)
    stopping = threading.Thread(target=first.stop)
    stopping.start()
    eventually(lambda: _assert_equal([thread.running for thread in first.workers], [False, False]))
    go_on.set()
    stopping.join(10)
    assert len(done) == 2
    assert dead_letter_count(broker) == 0

    worker_for(broker, worker_threads=1)
    join(broker)
    assert sorted(done) == list(range(10))


def test_many_threads_run_many_messages_once_each(broker: Broker, worker_for: WorkerFor) -> None:
    done: list[int] = []

    @actor(broker=broker)
    def work(number: int) -> None:
        done.append(number)

    worker_for(broker, worker_threads=8)
    for number in range(500):
        work.send(number)
    join(broker)
    assert sorted(done) == list(range(500))
