"""Each way in which a message can be stuck is explained as what it is."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from pgqueue.actor import actor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.message import Message
from pgqueue.operations import explaining, ordering
from pgqueue.operations.explaining import Explanation
from pgqueue.rate_limits import ConcurrentRateLimiter
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.queue import Queue


def message_of(actor_name: str = "nobody", queue_name: str = "default", priority: int = 0) -> Message[None]:
    return Message(queue_name, actor_name, (), {}, {"priority": priority})


def why(broker: PostgresBroker, message: Message[None] | str) -> Explanation:
    message_id = message if isinstance(message, str) else message.message_id
    return explaining.explain(explaining.find(broker.database, message_id))


def says(explanation: Explanation, *parts: str) -> None:
    text = " ".join(explanation.because)
    assert [part for part in parts if part not in text] == [], text


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


class TestQueued:
    def test_no_worker_is_alive(self, postgres_broker: PostgresBroker) -> None:
        explanation = why(postgres_broker, postgres_broker.enqueue(message_of()))
        assert explanation.status == "queued"
        says(explanation, "No worker is alive.", "It has been ready for")
        assert explanation.remedy == "pgqueue MODULE"

    def test_all_workers_are_silent(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        queue.owner()
        queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() - interval '20 seconds'")
        says(
            why(postgres_broker, postgres_broker.enqueue(message_of())),
            "No worker is alive (1 worker silent).",
        )

    def test_its_queue_is_paused(self, postgres_broker: PostgresBroker) -> None:
        message = postgres_broker.enqueue(message_of(queue_name="mail"))
        postgres_broker.pause_queue("mail")
        explanation = why(postgres_broker, message)
        says(explanation, "Queue 'mail' has been paused for")
        assert explanation.remedy == "pgqueue queues resume mail"

    def test_its_actor_is_paused_and_no_worker_has_met_it(self, postgres_broker: PostgresBroker) -> None:
        message = postgres_broker.enqueue(message_of("letter"))
        postgres_broker.pause_actor("letter")
        explanation = why(postgres_broker, message)
        says(explanation, "Actor 'letter' has been paused for")
        assert explanation.remedy == "pgqueue queues resume --actor letter"

    def test_its_actor_is_paused_and_a_worker_has_put_it_aside(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
    ) -> None:
        @actor
        def letter() -> None:
            raise AssertionError("it is paused")

        postgres_broker.pause_actor("letter")
        worker_for(postgres_broker)
        message = letter.send()
        eventually(lambda: _assert(queue.value("SELECT count(*) FROM pgqueue.parked") == 1))
        explanation = why(postgres_broker, message)
        assert explanation.status == "queued"
        says(explanation, "Actor 'letter' has been paused for", "a worker put the message aside")
        assert explanation.remedy == "pgqueue queues resume --actor letter"

    def test_its_actor_was_resumed_and_no_worker_brings_it_back(
        self, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        queue.conn.execute(
            """INSERT INTO pgqueue.parked
                (id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
            SELECT 1, now(), md5('mine')::uuid, %s, 0, 'mine', 'letter', ''""",
            (queue.lane(),),
        )
        says(why(postgres_broker, "mine"), "was paused and has been resumed", "No worker is alive.")

    def test_no_worker_serves_its_queue(self, postgres_broker: PostgresBroker, worker_for: WorkerFor) -> None:
        @actor(queue_name="mail")
        def letter() -> None: ...

        worker_for(postgres_broker)
        message = postgres_broker.enqueue(message_of(queue_name="reports"))

        def look() -> None:
            explanation = why(postgres_broker, message)
            says(explanation, "No worker serves queue 'reports'; those alive serve 'mail'.")
            assert explanation.remedy == "pgqueue MODULE --queues reports"

        eventually(look)

    def test_its_queue_runs_as_many_as_it_may(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, gate: threading.Event
    ) -> None:
        @actor
        def work() -> None:
            assert gate.wait(60.0)

        postgres_broker.limit_queue("default", 1)
        worker_for(postgres_broker)
        messages = work.send_many([(), ()])
        assert postgres_broker._session is not None
        worker = f"{socket.gethostname()}:{os.getpid()}"

        def look() -> None:
            explanation = next(
                each for each in (why(postgres_broker, one) for one in messages) if each.status == "queued"
            )
            says(explanation, f"Queue 'default' runs at most 1 at once, and 1 is held now: 1 by {worker}.")
            assert explanation.remedy == "pgqueue queues limit default 2"

        eventually(look, within_s=30.0)
        gate.set()

    @pytest.mark.parametrize(("verb", "state"), [("quiet", "quiet"), ("stop", "stopping")])
    def test_the_workers_of_its_queue_are_quiet(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, verb: ordering.Verb, state: str
    ) -> None:
        postgres_broker.declare_queue("mail")
        worker_for(postgres_broker)
        assert postgres_broker._session is not None
        process = postgres_broker._session.process
        ordering.order(postgres_broker.database, verb, process)
        ordering.obeyed(postgres_broker.database, [str(process)], within_s=30.0)
        message = postgres_broker.enqueue(message_of(queue_name="mail"))

        def look() -> None:
            explanation = why(postgres_broker, message)
            says(explanation, "No worker that serves queue 'mail' begins messages:", f" is {state}.")
            quiet = f"pgqueue workers work {str(process)[:8]}"
            assert explanation.remedy == (quiet if verb == "quiet" else "pgqueue MODULE")

        eventually(look, within_s=30.0)

    def test_no_worker_declares_its_actor(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        @actor(queue_name="mail")
        def letter() -> None: ...

        postgres_broker.pause_queue("mail")
        worker_for(postgres_broker)
        message = postgres_broker.enqueue(message_of("renamed", queue_name="mail"))
        eventually(
            lambda: says(
                why(postgres_broker, message),
                "Queue 'mail' has been paused",
                "No worker that serves queue 'mail' declares actor 'renamed': whoever claims the message makes it a "
                "dead letter.",
            )
        )

    def test_others_come_first(self, postgres_broker: PostgresBroker) -> None:
        postgres_broker.enqueue_many([message_of(priority=-1)] * 3 + [message_of(priority=1)] * 2)
        message = postgres_broker.enqueue(message_of(priority=1))
        postgres_broker.enqueue_many([message_of(priority=1), message_of(priority=2)])
        says(
            why(postgres_broker, message),
            "It is behind 3 messages of higher priority.",
            "It is behind 2 messages of the same priority that came before it.",
        )

    def test_how_many_come_first_is_counted_up_to_a_bound(
        self, postgres_broker: PostgresBroker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(explaining, "MOST_AHEAD", 3)
        postgres_broker.enqueue_many([message_of()] * 9)
        message = postgres_broker.enqueue(message_of())
        says(why(postgres_broker, message), "It is behind 3 or more messages of the same priority")

    def test_it_is_next(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        queue.owner()
        explanation = why(postgres_broker, postgres_broker.enqueue(message_of()))
        says(explanation, "It is the next of its queue: 1 worker serving 'default' will claim it at once")
        assert explanation.remedy is None


class TestHeld:
    def test_it_is_running(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, gate: threading.Event
    ) -> None:
        @actor
        def work() -> None:
            gate.wait(20.0)

        worker_for(postgres_broker, worker_threads=1)
        message, ahead = work.send(), work.send()

        def look() -> None:
            says(why(postgres_broker, message), "It is running: worker", "began")
            says(why(postgres_broker, ahead), "was claimed ahead", "That worker has been running work for")

        eventually(look, within_s=10.0)
        assert why(postgres_broker, message).remedy == f"pgqueue messages cancel {message.message_id}"
        gate.set()

    def test_its_worker_is_silent_or_unknown_or_was_lost_before(
        self, postgres_broker: PostgresBroker, queue: Queue
    ) -> None:
        message = postgres_broker.enqueue(message_of())
        queue.claimed(queue.owner())
        says(why(postgres_broker, message), "Worker here:1 claimed it", "one of 2 threads")
        queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() - interval '20 seconds'")
        queue.conn.execute("UPDATE pgqueue.messages SET attempts = 2")
        says(
            why(postgres_broker, message), "That worker has been silent for 20 s.", "2 workers had been lost"
        )
        queue.conn.execute("DELETE FROM pgqueue.workers")
        says(why(postgres_broker, message), "by a worker that is not registered", "within 15 seconds")

    def test_it_is_to_be_cancelled(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        message = postgres_broker.enqueue(message_of())
        queue.claimed(queue.owner())
        postgres_broker.cancel(message.message_id, timeout=0)
        explanation = why(postgres_broker, message)
        says(explanation, "It was to be cancelled; its worker has been asked.")
        assert explanation.remedy is None


class TestScheduled:
    def test_it_is_not_due(self, postgres_broker: PostgresBroker) -> None:
        message = postgres_broker.enqueue(message_of(), delay=7_230_000)
        explanation = why(postgres_broker, message)
        assert explanation.status == "scheduled"
        says(explanation, "It is not due: it will be", "in 2 h", "No worker is alive.")
        assert explanation.remedy == f"pgqueue messages retry {message.message_id}"

    def test_it_is_tried_again_because_a_limit_refused_it(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor
    ) -> None:
        limit = ConcurrentRateLimiter(LimiterBackend(broker=postgres_broker), "one-at-a-time", limit=1)

        @actor(min_backoff=3_600_000, max_backoff=7_200_000)
        def work() -> None:
            with limit.acquire():
                raise AssertionError("somebody has the place")

        worker_for(postgres_broker)
        with limit.acquire():
            message = work.send()
            eventually(lambda: _assert(why(postgres_broker, message).status == "scheduled"))
        says(
            why(postgres_broker, message),
            "It is not due",
            "It has failed 1 time, the last time with",
            "RateLimitExceeded",
        )

    def test_it_is_due_and_nobody_makes_it_ready(self, postgres_broker: PostgresBroker, queue: Queue) -> None:
        message = postgres_broker.enqueue(message_of(), delay=3_600_000)
        queue.conn.execute("UPDATE pgqueue.scheduled SET due_at = now() - interval '30 seconds'")
        explanation = why(postgres_broker, message)
        says(explanation, "It has been due for 30 s and was not made ready.", "none is alive")
        assert explanation.remedy == "pgqueue MODULE"
        queue.owner()
        says(why(postgres_broker, message), "Workers are alive and do that within a second.")


class TestOver:
    def test_it_is_done(self, postgres_broker: PostgresBroker, worker_for: WorkerFor) -> None:
        @actor
        def work() -> None:
            time.sleep(0.01)

        worker_for(postgres_broker)
        message = work.send()
        eventually(lambda: _assert(why(postgres_broker, message).status == "done"))
        says(why(postgres_broker, message), "It is over: done", "It waited for", "and ran for")

    def test_it_was_cancelled(self, postgres_broker: PostgresBroker) -> None:
        message = postgres_broker.enqueue(message_of())
        postgres_broker.cancel(message.message_id)
        explanation = why(postgres_broker, message)
        assert explanation.status == "cancelled"
        says(explanation, "It is over: cancelled", "It had waited for")

    def test_it_failed_and_its_dead_letter_was_purged(
        self, postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
    ) -> None:
        @actor(max_retries=0)
        def work() -> None:
            raise RuntimeError("no such file")

        worker_for(postgres_broker)
        message = work.send()
        eventually(lambda: _assert(why(postgres_broker, message).status == "failed"))
        explanation = why(postgres_broker, message)
        says(explanation, "its actor failed, and no retry was left", "The error: RuntimeError: no such file")
        assert explanation.remedy == f"pgqueue dead requeue {message.message_id}"
        queue.conn.execute("DELETE FROM pgqueue.dead_letters")
        says(why(postgres_broker, message), "It is over: failed", "Its dead letter was purged")

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("poison", "running in three workers when they were lost"),
            ("undecodable", "its bytes are not those of a message"),
            ("unknown actor", "declares no such actor"),
            ("unrecordable", "could not be written"),
            ("of a later release", "of a later release"),
        ],
    )
    def test_the_reason_of_a_dead_letter_is_told(
        self, postgres_broker: PostgresBroker, queue: Queue, reason: str, words: str
    ) -> None:
        queue.conn.execute(
            """INSERT INTO pgqueue.dead_letters
                (message_id, foreign_id, queue_name, priority, actor_name, attempts, reason, payload)
            VALUES (md5('mine')::uuid, 'mine', 'default', 0, 'work', 0, %s, '')""",
            (reason,),
        )
        says(why(postgres_broker, "mine"), "It is a dead letter since", words)


def test_a_message_past_its_age_limit_is_explained_before_and_after(
    postgres_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    @actor
    def work() -> None:
        raise AssertionError("it is too old")

    message: Message[None] = Message("default", "work", (), {}, {"max_age": 60_000}, message_timestamp=0)
    postgres_broker.pause_queue("default")
    postgres_broker.enqueue(message)
    says(
        why(postgres_broker, message),
        "old and may be 1 min old at most: whoever claims it makes it a dead letter.",
    )
    worker_for(postgres_broker)
    postgres_broker.resume_queue("default")

    def look() -> None:
        explanation = why(postgres_broker, message)
        says(
            explanation,
            "past its age limit (max_age) when a worker came to it, and was not run.",
            "ms old, and may be 60,000 ms old at most",
            "send it anew",
        )
        assert (explanation.status, explanation.remedy) == ("failed", None)

    eventually(look, within_s=30.0)


def test_an_age_limit_that_is_not_passed_or_makes_no_sense_is_not_told_of(
    postgres_broker: PostgresBroker,
) -> None:
    for max_age in (10**9, 0, None, "soon"):
        message: Message[None] = Message("default", "work", (), {}, {"max_age": max_age})
        postgres_broker.enqueue(message)
        assert "old at most" not in " ".join(why(postgres_broker, message).because)


def test_of_an_unknown_message_the_open_transactions_are_told(
    postgres_broker: PostgresBroker, queue: Queue
) -> None:
    queue.lane()
    new = queue.new("x", message_id="mine")
    with queue.connect() as writer:
        writer.execute("BEGIN")
        queue.send_all([new], conn=writer)
        pid = writer.info.backend_pid
        explanation = why(postgres_broker, "mine")
        assert explanation.status == "unknown"
        says(explanation, "No message of this id is known.", f"Session {pid} (")
        says(explanation, "has written something and not committed for")
        writer.execute("COMMIT")
    assert why(postgres_broker, "mine").status == "queued"


def _assert(fact: object) -> None:
    assert fact
