"""What a worker draws from, and the commit at a message's end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pgqueue.broker import Consumer, MessageProxy
from pgqueue.broker.worker_consumer import WorkerConsumer, for_worker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend

from ..support.eventually import eventually
from ..support.queue import Queue


def message_of(number: int, queue_name: str = "default") -> Message[None]:
    return Message(queue_name, "actor", (number,), {}, {})


@pytest.fixture
def consumer(postgres_broker: PostgresBroker) -> Iterator[WorkerConsumer]:
    opened = for_worker(postgres_broker.consume("default", prefetch=5, timeout=5_000))
    yield opened
    opened.close()


def draw(consumer: Consumer) -> MessageProxy:
    message = next(consumer)
    assert message is not None
    return message


def leased(queue: Queue) -> int:
    return int(
        queue.value("SELECT coalesce(sum(cardinality(ids) - cardinality(done)), 0) FROM pgqueue.leases")
    )


class TestDrawing:
    def test_no_more_is_claimed_than_the_prefetch_allows(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer
    ) -> None:
        postgres_broker.enqueue_many([message_of(number) for number in range(20)])
        held = [draw(consumer) for _ in range(5)]
        assert leased(queue) == 5
        taker = threading.Thread(target=lambda: held.append(draw(consumer)))
        taker.start()
        consumer.ack(held[0])
        taker.join(5.0)
        assert [message.args[0] for message in held] == list(range(6))
        assert leased(queue) <= 5

    def test_without_a_message_none_comes_after_the_time_out(self, postgres_broker: PostgresBroker) -> None:
        consumer = postgres_broker.consume("default", timeout=100)
        before = time.monotonic()
        assert next(consumer) is None
        assert 0.09 <= time.monotonic() - before < 2.0
        consumer.close()

    def test_a_paused_consumer_claims_nothing(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer
    ) -> None:
        consumer.pause()
        postgres_broker.enqueue(message_of(1))
        assert next(consumer) is None
        assert leased(queue) == 0
        consumer.resume()
        assert draw(consumer).args == (1,)

    def test_a_queue_that_is_subscribed_later_is_drawn_from(
        self, postgres_broker: PostgresBroker, consumer: WorkerConsumer
    ) -> None:
        postgres_broker.enqueue(message_of(1, "other"))
        consumer.subscribe("other")
        assert draw(consumer).args == (1,)

    def test_at_its_end_what_was_not_drawn_is_back_at_once(
        self, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        consumer = postgres_broker.consume("default", prefetch=10, timeout=5_000)
        postgres_broker.enqueue_many([message_of(number) for number in range(10)])
        consumer.ack(draw(consumer))
        consumer.close()
        assert postgres_broker.get_queue_message_counts("default") == (9, 0, 0)
        assert leased(queue) == 0
        assert queue.value("SELECT count(*) FROM pgqueue.workers") == 0

        def no_connection_is_left() -> None:
            names = queue.values(
                "SELECT application_name FROM pg_stat_activity "
                "WHERE application_name LIKE 'pgqueue %%' AND datname = current_database()"
            )
            assert set(names) <= {"pgqueue test"}

        eventually(no_connection_is_left)

    def test_killed_connections_cost_no_message(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer
    ) -> None:
        """Whichever of a process's connections it is."""
        seen: set[int] = set()
        postgres_broker.enqueue_many([message_of(number) for number in range(60)])
        for round_ in range(12):
            name = ["pgqueue fetcher", "pgqueue acker", "pgqueue listener"][round_ % 3]
            queue.values(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s AND datname = current_database()",
                name,
            )
            for _ in range(5):
                message = draw(consumer)
                assert message.args[0] not in seen
                seen.add(message.args[0])
                consumer.ack(message)
        assert seen == set(range(60))
        assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)


class TestSettling:
    @pytest.fixture
    def limiter(self, postgres_broker: PostgresBroker) -> LimiterBackend:
        made = LimiterBackend(broker=postgres_broker)
        assert made.add("key", 5, 60_000)
        return made

    @staticmethod
    def is_at(limiter: LimiterBackend, value: int) -> bool:
        at_most = limiter.incr("key", 0, value, 60_000)
        at_least = limiter.decr("key", 0, value, 60_000)
        return at_most and at_least

    def test_what_a_hook_does_to_a_limiter_commits_with_the_ack(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer, limiter: LimiterBackend
    ) -> None:
        postgres_broker.enqueue(message_of(1))
        message, outside = draw(consumer), []
        with consumer.settling(message):
            assert limiter.decr("key", 1, 0, 60_000)
            look = threading.Thread(
                target=lambda: outside.append(queue.value("SELECT count(*) FROM pgqueue.outcomes"))
            )
            look.start()
            look.join()
            consumer.ack(message)
        assert outside == [0]
        assert queue.value("SELECT status::text FROM pgqueue.outcomes") == "d"
        assert self.is_at(limiter, 4)

    def test_killed_before_its_commit_it_undoes_both_and_the_message_runs_again(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer, limiter: LimiterBackend
    ) -> None:
        postgres_broker.enqueue_many([message_of(1), message_of(2)])
        message = draw(consumer)
        with consumer.settling(message):
            assert limiter.decr("key", 1, 0, 60_000)
            postgres_broker.enqueue(message_of(3))
            killed = queue.values(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND state = 'idle in transaction' "
                "AND application_name = 'pgqueue'"
            )
            assert killed == [True]
            consumer.ack(message)
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 0
        assert self.is_at(limiter, 5)
        seen = []
        for _ in range(2):
            again = draw(consumer)
            seen.append(again.args[0])
            consumer.ack(again)
        assert sorted(seen) == [1, 2]

    def test_after_its_message_was_given_away_it_does_nothing(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer, limiter: LimiterBackend
    ) -> None:
        postgres_broker.enqueue(message_of(1))
        message = draw(consumer)
        queue.conn.execute("DELETE FROM pgqueue.leases")
        with consumer.settling(message):
            postgres_broker.enqueue(message_of(2))
            consumer.ack(message)
        consumer.flush()
        assert queue.ready() == []
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 0

    def test_a_message_without_ack_or_nack_goes_back(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer
    ) -> None:
        postgres_broker.enqueue(message_of(1))
        with consumer.settling(draw(consumer)):
            postgres_broker.enqueue(message_of(2))
        again = draw(consumer)
        assert again.args == (1,)
        consumer.ack(again)
        assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)

    def test_a_message_is_settled_once(
        self, postgres_broker: PostgresBroker, queue: Queue, consumer: WorkerConsumer
    ) -> None:
        postgres_broker.enqueue(message_of(1))
        message = draw(consumer)
        consumer.ack(message)
        consumer.nack(message)
        consumer.ack(message)
        consumer.requeue([message])
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1
        assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)
