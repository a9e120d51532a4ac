"""What programs' tests rely on in the broker in memory, beyond the contract of all brokers."""

from __future__ import annotations

import threading
import traceback

import pytest

from pgqueue.actor import actor
from pgqueue.broker import MessageProxy
from pgqueue.broker.worker_consumer import for_worker
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import DecodeError, QueueJoinTimeout, QueueNotFound
from pgqueue.message import Message

from ..conftest import WorkerFor
from ..support.eventually import eventually


def message_on(queue_name: str, *args: object) -> Message[None]:
    return Message(queue_name, "work", args, {}, {})


def _assert_equal(actual: object, expected: object) -> None:
    assert actual == expected


def test_queues_hold_the_encoded_messages(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("letters")
    sent = stub_broker.enqueue(message_on("letters", 1))
    assert set(stub_broker.queues) == {"letters", "letters.DQ"}
    assert stub_broker.queues["letters"].qsize() == 1
    assert stub_broker.queues["letters"].unfinished_tasks == 1
    assert Message.decode(stub_broker.queues["letters"].get_nowait()) == sent


def test_bytes_put_into_a_queue_are_consumed(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("letters")
    message = message_on("letters")
    stub_broker.queues["letters"].put(message.encode())
    assert next(stub_broker.consume("letters")) == message


def test_undeclared_queues_are_refused(stub_broker: StubBroker) -> None:
    with pytest.raises(QueueNotFound):
        stub_broker.enqueue(message_on("nowhere"))
    with pytest.raises(QueueNotFound):
        stub_broker.consume("nowhere")
    with pytest.raises(QueueNotFound):
        stub_broker.join("nowhere")
    with pytest.raises(QueueNotFound):
        stub_broker.flush("nowhere")


@pytest.mark.parametrize("delay", [None, 1_000])
def test_of_a_batch_with_an_undeclared_queue_none_is_sent(stub_broker: StubBroker, delay: int | None) -> None:
    stub_broker.declare_queue("letters")
    batch = [message_on("letters", 1), message_on("nowhere"), message_on("letters", 2)]
    with pytest.raises(QueueNotFound, match="nowhere"):
        stub_broker.enqueue_many(batch, delay=delay)
    assert [queue.qsize() for queue in stub_broker.queues.values()] == [0, 0]


def test_join_raises_what_the_first_dead_letter_failed_with(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    @actor(max_retries=0)
    def fail(text: str) -> None:
        raise ValueError(text)

    worker_for(stub_broker, worker_threads=1)
    fail.send("first")
    fail.send("second")
    with pytest.raises(ValueError, match="first") as caught:
        stub_broker.join("default", timeout=5000)
    assert caught.value.__suppress_context__
    assert "in fail" in "".join(traceback.format_tb(caught.value.__traceback__))


def test_join_says_so_when_a_message_failed_without_an_exception(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    stub_broker.enqueue(message_on("default"))
    consumer = stub_broker.consume("default")
    message = next(consumer)
    assert message is not None
    consumer.nack(message)
    with pytest.raises(Exception, match="without an exception"):
        stub_broker.join("default")


def test_failing_fast_can_be_switched_off(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    @actor(max_retries=0)
    def fail() -> None:
        raise ValueError

    worker_for(stub_broker)
    fail.send()
    stub_broker.join("default", timeout=5000, fail_fast=False)
    stub_broker.fail_fast_default = False
    stub_broker.join("default", timeout=5000)


def test_a_queue_without_dead_letters_has_an_empty_list(stub_broker: StubBroker) -> None:
    assert stub_broker.dead_letters_by_queue["nobody's"] == []
    assert stub_broker.dead_letters == []


def test_other_queues_dead_letters_do_not_fail_a_join(stub_broker: StubBroker) -> None:
    for name in ("bad", "good"):
        stub_broker.declare_queue(name)
    stub_broker.enqueue(message_on("bad"))
    consumer = stub_broker.consume("bad")
    message = next(consumer)
    assert message is not None
    consumer.nack(message)
    stub_broker.join("good")
    assert stub_broker.dead_letters == [message]
    assert stub_broker.dead_letters_by_queue["bad"] == [message]


def test_dead_letters_keep_their_exceptions(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    @actor(max_retries=0)
    def fail() -> None:
        raise ValueError("kept")

    worker = worker_for(stub_broker)
    fail.send()
    stub_broker.join("default", fail_fast=False)
    worker.join()
    [letter] = stub_broker.dead_letters
    assert letter.failed
    assert str(letter._exception) == "kept"


def test_a_dead_letter_is_there_before_its_message_counts_as_done(stub_broker: StubBroker) -> None:
    unfinished: list[int] = []

    class Letters(list[MessageProxy]):
        def append(self, letter: MessageProxy) -> None:
            unfinished.append(stub_broker.queues["default"].unfinished_tasks)
            super().append(letter)

    stub_broker.declare_queue("default")
    stub_broker.dead_letters_by_queue["default"] = Letters()
    consumer = stub_broker.consume("default", prefetch=2, timeout=10)
    stub_broker.enqueue(message_on("default"))
    message = next(consumer)
    assert message is not None
    consumer.nack(message)
    stub_broker.queues["default"].put(b"not a message")
    assert next(consumer) is None
    assert unfinished == [1, 1]
    assert stub_broker.queues["default"].unfinished_tasks == 0


def test_a_failing_join_never_misses_the_dead_letter(stub_broker: StubBroker, worker_for: WorkerFor) -> None:
    @actor(max_retries=0)
    def fail() -> None:
        raise ValueError

    worker_for(stub_broker)
    for _ in range(50):
        fail.send()
        with pytest.raises(ValueError):  # noqa: PT011  # the actor's
            stub_broker.join("default", timeout=5000)
        stub_broker.flush_all()


def test_flush_all_empties_the_lists_that_consumers_hold(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    letters = stub_broker.dead_letters_by_queue["default"]
    stub_broker.enqueue(message_on("default"))
    consumer = stub_broker.consume("default", prefetch=2)
    message = next(consumer)
    assert message is not None
    consumer.nack(message)
    assert len(letters) == 1
    stub_broker.flush_all()
    assert letters == []
    assert stub_broker.dead_letters_by_queue["default"] is letters


def test_flush_all_forgets_what_is_in_progress(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    stub_broker.enqueue(message_on("default", 1))
    consumer = stub_broker.consume("default", prefetch=1, timeout=10)
    before = next(consumer)
    stub_broker.flush_all()
    assert stub_broker.queues["default"].unfinished_tasks == 0
    stub_broker.enqueue(message_on("default", 2))
    after = next(consumer)
    assert before is not None
    assert after is not None
    consumer.ack(before)
    with pytest.raises(QueueJoinTimeout):
        stub_broker.join("default", timeout=10)
    consumer.ack(after)
    stub_broker.join("default", timeout=10)


def test_flush_all_reaches_the_delayed_messages_that_a_running_worker_holds(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    ran: list[str] = []

    @actor
    def note(text: str) -> None:
        ran.append(text)

    worker = worker_for(stub_broker, worker_threads=1)
    held = worker.consumers["default.DQ"].delay_queue
    note.send_with_options(args=("in an hour",), delay=3_600_000)
    note.send_with_options(args=("later",), delay=60_000)
    eventually(lambda: _assert_equal(held.qsize(), 2))
    stub_broker.flush_all()
    note.send_with_options(args=("after",), delay=0)
    stub_broker.join("default", timeout=10_000)
    worker.join()  # which waits for delayed messages
    assert (ran, held.qsize()) == (["after"], 0)


def test_flush_all_reaches_the_messages_that_wait_for_a_thread_of_a_running_worker(
    stub_broker: StubBroker, worker_for: WorkerFor
) -> None:
    ran: list[int] = []
    begun, may_end = threading.Event(), threading.Event()

    @actor
    def note(number: int) -> None:
        begun.set()
        assert may_end.wait(10)
        ran.append(number)

    worker = worker_for(stub_broker, worker_threads=1)
    note.send(1)
    assert begun.wait(10)
    note.send(2)
    eventually(lambda: _assert_equal(worker.work_queue.qsize(), 1))
    stub_broker.flush_all()
    may_end.set()
    note.send(3)
    stub_broker.join("default", timeout=10_000)
    worker.join()
    assert ran == [1, 3]


def test_a_message_and_its_retry_are_acknowledged_each_for_itself(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    message = message_on("default")
    stub_broker.enqueue(message)
    stub_broker.enqueue(message)
    consumer = stub_broker.consume("default", prefetch=2)
    first, second = next(consumer), next(consumer)
    assert first is not None
    assert second is not None
    consumer.ack(first)
    with pytest.raises(QueueJoinTimeout):
        stub_broker.join("default", timeout=10)
    consumer.ack(second)
    stub_broker.join("default", timeout=10)


def test_undecodable_bytes_are_kept_as_a_dead_letter_with_the_error(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    stub_broker.queues["default"].put(b"\xff garbage")
    assert next(stub_broker.consume("default")) is None
    [letter] = stub_broker.dead_letters
    assert letter.args == (b"\xff garbage",)
    with pytest.raises(DecodeError):
        stub_broker.join("default", timeout=10)


def test_a_prefetch_of_five_leaves_ten_of_fifteen(
    stub_broker: StubBroker, worker_for: WorkerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.worker.QUEUE_PREFETCH", 5)

    @actor
    def work() -> None:
        pass

    for _ in range(15):
        work.send()
    worker = worker_for(stub_broker, worker_threads=0)

    def fetched_five() -> None:
        assert worker.work_queue.qsize() == 5
        assert stub_broker.queues["default"].qsize() == 10

    eventually(fetched_five)


def test_a_consumer_waiting_for_messages_is_woken_by_one(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    consumer = stub_broker.consume("default", timeout=10_000)
    fetched: list[MessageProxy | None] = []
    thread = threading.Thread(target=lambda: fetched.append(next(consumer)))
    thread.start()
    sent = stub_broker.enqueue(message_on("default"))
    thread.join(5)
    assert fetched == [sent]


def test_a_consumer_that_is_paused_returns_at_once_and_leaves_the_message(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    consumer = for_worker(stub_broker.consume("default", timeout=10_000))
    fetched: list[MessageProxy | None] = []
    thread = threading.Thread(target=lambda: fetched.append(next(consumer)))
    thread.start()
    consumer.pause()
    thread.join(5)
    assert fetched == [None]
    sent = stub_broker.enqueue(message_on("default"))
    assert next(consumer) is None
    consumer.resume()
    assert next(consumer) == sent


def test_a_consumer_without_a_free_place_waits_for_one(stub_broker: StubBroker) -> None:
    stub_broker.declare_queue("default")
    sent = [stub_broker.enqueue(message_on("default", n)) for n in range(5)]
    consumer = stub_broker.consume("default", prefetch=4, timeout=10_000)
    held = [next(consumer) for _ in range(4)]
    assert held == sent[:4]
    fetched: list[MessageProxy | None] = []
    thread = threading.Thread(target=lambda: fetched.append(next(consumer)))
    thread.start()
    assert held[0] is not None
    consumer.ack(held[0])
    thread.join(5)
    assert fetched == sent[4:]
