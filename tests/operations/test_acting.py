"""Retry, delete, requeue and purge: what they do, and what they say when there is nothing to do."""

from __future__ import annotations

import pytest

from pgqueue.actor import actor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message, MessageStatus
from pgqueue.operations import acting
from pgqueue.operations.acting import Done
from pgqueue.operations.listing import MessageFilter
from pgqueue.storage.dead_letters import LetterFilter
from pgqueue.storage.whereabouts import find_dead
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue


def message_of(queue_name: str = "default", number: int = 0) -> Message[None]:
    return Message(queue_name, "nobody", (number,), {}, {})


def bury(queue: Queue, number: int, *, error: str = "ValueError: bad", queue_name: str = "default") -> None:
    """Put a dead letter with an id that tells which it is."""
    message: Message[None] = Message(
        queue_name,
        "nobody",
        (number,),
        {},
        {"retries": 3, "traceback": "…", "kept": 1},
        message_id=str(number),
    )
    queue.lane(queue_name)
    queue.conn.execute(
        """INSERT INTO pgqueue.dead_letters
            (message_id, foreign_id, queue_name, priority, actor_name, attempts, reason, error, payload)
        VALUES (md5(%(id)s)::uuid, %(id)s, %(queue)s, 0, 'nobody', 0, 'failed', %(error)s, %(payload)s)""",
        {"id": str(number), "queue": queue_name, "error": error, "payload": message.encode()},
    )


class TestRetry:
    def test_a_scheduled_message_runs_now(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        ran: list[int] = []

        @actor
        def work() -> None:
            ran.append(1)

        worker_for(postgres_broker)
        message = work.send_with_options(delay=3_600_000)
        assert acting.retry(postgres_broker.database, message.message_id) is Done.HASTENED
        postgres_broker.join("default", timeout=10_000)
        assert ran == [1]
        assert acting.retry(postgres_broker.database, message.message_id) is Done.ENDED

    def test_a_dead_letter_is_requeued_with_all_its_retries(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
    ) -> None:
        seen: list[dict[str, object]] = []
        fails = [True]

        @actor(max_retries=1, min_backoff=1, max_backoff=1)
        def work() -> None:
            seen.append({})
            if fails[0]:
                raise RuntimeError("again")

        worker_for(postgres_broker)
        message = work.send()
        eventually(lambda: _assert(message.status() is MessageStatus.FAILED))
        assert len(seen) == 2
        assert acting.retry(postgres_broker.database, message.message_id) is Done.REQUEUED
        eventually(lambda: _assert(len(seen) == 4))
        eventually(lambda: _assert(message.status() is MessageStatus.FAILED))
        fails[0] = False
        assert acting.retry(postgres_broker.database, message.message_id) is Done.REQUEUED
        eventually(lambda: _assert(message.status() is MessageStatus.DONE))
        assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0
        assert queue.value("SELECT max(attempts) FROM pgqueue.outcomes") == 0

    def test_others_are_left_as_they_are(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        message = postgres_broker.enqueue(message_of())
        assert acting.retry(postgres_broker.database, message.message_id) is Done.QUEUED
        queue.claimed(queue.owner())
        assert acting.retry(postgres_broker.database, message.message_id) is Done.RUNNING
        assert acting.retry(postgres_broker.database, "no such message") is Done.UNKNOWN


class TestDelete:
    def test_what_waits_or_has_died_is_removed_without_a_trace(
        self, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        for message in (
            postgres_broker.enqueue(message_of()),
            postgres_broker.enqueue(message_of(), delay=3_600_000),
        ):
            assert acting.delete(postgres_broker.database, message.message_id) is Done.DELETED
            assert message.status() is MessageStatus.UNKNOWN
        bury(queue, 1)
        assert acting.delete(postgres_broker.database, "1") is Done.DELETED
        assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0
        assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 0

    def test_what_a_worker_holds_stays(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        message = postgres_broker.enqueue(message_of())
        queue.claimed(queue.owner())
        assert acting.delete(postgres_broker.database, message.message_id) is Done.RUNNING
        assert message.status() is MessageStatus.RUNNING
        assert acting.delete(postgres_broker.database, "no such message") is Done.UNKNOWN


class TestAllThatMatch:
    def test_messages_that_wait_are_removed_and_no_others(
        self, postgres_broker: PostgresBroker, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acting, "BATCH", 2)
        postgres_broker.enqueue(message_of())
        queue.claimed(queue.owner())
        postgres_broker.enqueue_many([message_of(number=number) for number in range(5)])
        postgres_broker.enqueue_many([message_of(number=number) for number in range(3)], delay=3_600_000)
        postgres_broker.enqueue(message_of("other"))
        which = MessageFilter(("queued", "scheduled"), queue_name="default")
        assert acting.count_messages(postgres_broker.database, which) == (8, True)
        assert sum(acting.remove_all(postgres_broker.database, which, record=False)) == 8
        assert postgres_broker.get_queue_message_counts("default") == (1, 0, 0)
        assert postgres_broker.get_queue_message_counts("other") == (1, 0, 0)
        assert list(acting.remove_all(postgres_broker.database, which, record=False)) == []

    def test_counting_stops_at_a_bound(
        self, postgres_broker: PostgresBroker, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acting, "MOST_COUNTED", 3)
        postgres_broker.enqueue_many([message_of()] * 5)
        assert acting.count_messages(postgres_broker.database, MessageFilter()) == (3, False)
        for number in range(5):
            bury(queue, number)
        assert acting.count_letters(postgres_broker.database, LetterFilter()) == (3, False)


class TestDeadLetters:
    def test_those_that_match_are_requeued_with_id_and_arguments(
        self, postgres_broker: PostgresBroker, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acting, "BATCH", 2)
        for number in range(5):
            bury(queue, number, error="KeyError: 'Name'")
        bury(queue, 9, error="ValueError: other")
        which = LetterFilter(error="NAME")
        assert acting.count_letters(postgres_broker.database, which) == (5, True)
        assert sum(acting.requeue_all(postgres_broker.database, which)) == 5
        assert queue.values("SELECT foreign_id FROM pgqueue.dead_letters") == ["9"]
        requeued = [Message.decode(message.payload) for message in queue.claimed(queue.owner())]
        assert sorted(message.message_id for message in requeued) == ["0", "1", "2", "3", "4"]
        assert {message.message_id: message.args for message in requeued}["3"] == (3,)
        assert [message.options for message in requeued] == [{"kept": 1}] * 5

    @pytest.mark.parametrize(
        "which",
        [
            LetterFilter(queue_name="other"),
            LetterFilter(actor_name="somebody"),
            LetterFilter(reason="poison"),
            LetterFilter(error="100%_"),
        ],
    )
    def test_those_that_do_not_match_stay(
        self, postgres_broker: PostgresBroker, queue: Queue, which: LetterFilter
    ) -> None:
        bury(queue, 1)
        assert acting.count_letters(postgres_broker.database, which) == (0, True)
        assert list(acting.purge_letters(postgres_broker.database, which)) == []
        assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 1

    def test_one_that_is_gone_meanwhile_is_not_counted(
        self, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        bury(queue, 1)
        with postgres_broker.database.bounded() as conn:
            letters = find_dead(conn, queue.statements, message_id="1")
        assert acting.requeue(postgres_broker.database, letters) == 1
        assert acting.requeue(postgres_broker.database, letters) == 0
        assert acting.requeue(postgres_broker.database, []) == 0
        assert len(queue.claimed(queue.owner())) == 1

    def test_bytes_that_are_no_message_stay_as_they_are(self) -> None:
        assert acting.afresh(b"\xff") == b"\xff"

    def test_all_that_match_are_purged(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        for number in range(3):
            bury(queue, number)
        assert sum(acting.purge_letters(postgres_broker.database, LetterFilter(queue_name="default"))) == 3
        assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0


def _assert(fact: object) -> None:
    assert fact
