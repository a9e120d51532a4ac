"""A message can be crashed with between any two steps, whether its actor returns or raises."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

import pgqueue
from pgqueue import MessageStatus
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import ActorNotFound
from pgqueue.middleware import Middleware
from pgqueue.rate_limits import Barrier
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.testing import Bench, CrashPoint, Enqueued, enqueued

HOUR_MS = 3_600_000

#: After these the message comes again.
BEFORE_THE_COMMIT = [CrashPoint.FETCHED, CrashPoint.RAN, CrashPoint.SETTLED]

#: Which of these have run the actor.
AFTER_THE_RUN = [CrashPoint.RAN, CrashPoint.SETTLED]


class Failing:
    """An actor that fails until it is told to stop, and a count of its runs."""

    def __init__(self, broker: pgqueue.Broker, *, max_retries: int, transactional: bool = False) -> None:
        self.runs = 0
        self.broken = True
        self._transactional = transactional
        self.actor = pgqueue.actor(
            actor_name="fail",
            broker=broker,
            transactional=transactional,
            max_retries=max_retries,
            min_backoff=HOUR_MS,
        )(self.run)

    def run(self) -> str:
        self.runs += 1
        if self._transactional:
            pgqueue.current_transaction().connection.execute("INSERT INTO effects VALUES (1)")
        if self.broken:
            raise ZeroDivisionError("as told")
        return "fine"


class Look:
    """What of a message is in the database."""

    def __init__(self, url: str) -> None:
        self._conn = psycopg.connect(url, autocommit=True)

    def count(self, table: str) -> int:
        ((number,),) = self._conn.execute(f"SELECT count(*) FROM {table}").fetchall()
        return int(number)

    def failures(self) -> int:
        """Attempts that are noted as failed, not as lost."""
        return self.count("pgqueue.attempts WHERE kind <> 'l'")

    def close(self) -> None:
        self._conn.close()


@pytest.fixture
def look(database_url: str) -> Iterator[Look]:
    made = Look(database_url)
    made._conn.execute("CREATE TABLE effects (number integer)")
    yield made
    made.close()


def only(broker: pgqueue.Broker) -> Enqueued:
    (found,) = enqueued(broker)
    return found


@pytest.mark.parametrize("transactional", [False, True], ids=["plain", "transactional"])
class TestBeforeTheCommit:
    """Nothing of the end of the run is there, and it is run again."""

    @pytest.mark.parametrize("at", BEFORE_THE_COMMIT)
    def test_no_retry_is_there(
        self, postgres_broker: PostgresBroker, look: Look, at: CrashPoint, transactional: bool
    ) -> None:
        failing = Failing(postgres_broker, max_retries=5, transactional=transactional)
        sent = failing.actor.send()
        with Bench(postgres_broker) as bench:
            assert bench.crash(at).message_id == sent.message_id
            assert failing.runs == (at in AFTER_THE_RUN)
            waiting = only(postgres_broker)
            assert waiting.delay_ms is None
            assert "retries" not in waiting.message.options
            assert look.failures() == look.count("effects") == 0
            run = bench.step()
            assert run is not None
            assert isinstance(run.exception, ZeroDivisionError)
            assert getattr(run.message, "attempts", None) == (at in AFTER_THE_RUN)
            assert only(postgres_broker).message.options["retries"] == 1
            assert look.failures() == 1

    @pytest.mark.parametrize("at", BEFORE_THE_COMMIT)
    def test_no_dead_letter_is_there(
        self, postgres_broker: PostgresBroker, look: Look, at: CrashPoint, transactional: bool
    ) -> None:
        failing = Failing(postgres_broker, max_retries=0, transactional=transactional)
        sent = failing.actor.send()
        with Bench(postgres_broker) as bench:
            bench.crash(at)
            assert look.count("pgqueue.dead_letters") == look.count("pgqueue.outcomes") == 0
            assert sent.status() is MessageStatus.QUEUED
            run = bench.step()
            assert run is not None
            assert run.failed
            assert bench.step() is None
        assert look.count("pgqueue.dead_letters") == 1
        assert look.count("effects") == 0

    @pytest.mark.parametrize("at", BEFORE_THE_COMMIT)
    def test_no_effect_and_no_end_of_a_success_is_there(
        self, postgres_broker: PostgresBroker, look: Look, at: CrashPoint, transactional: bool
    ) -> None:
        failing = Failing(postgres_broker, max_retries=0, transactional=transactional)
        failing.broken = False
        failing.actor.send()
        with Bench(postgres_broker) as bench:
            bench.crash(at)
            assert look.count("effects") == look.count("pgqueue.outcomes") == 0
            assert [run.result for run in bench.drain()] == ["fine"]
        assert look.count("effects") == transactional
        assert look.count("pgqueue.outcomes") == 1


@pytest.mark.parametrize("transactional", [False, True], ids=["plain", "transactional"])
class TestAfterTheCommit:
    """Everything is there, once, and nothing comes of the worker's loss."""

    def test_the_retry_is_there(
        self, postgres_broker: PostgresBroker, look: Look, transactional: bool
    ) -> None:
        failing = Failing(postgres_broker, max_retries=5, transactional=transactional)
        failing.actor.send()
        with Bench(postgres_broker) as bench:
            bench.crash(CrashPoint.COMMITTED)
            waiting = only(postgres_broker)
            assert waiting.message.options["retries"] == 1
            assert waiting.delay_ms is not None
            assert bench.step() is None
            assert (failing.runs, look.failures(), look.count("pgqueue.attempts")) == (1, 1, 1)
            failing.broken = False
            assert [run.result for run in bench.drain(delayed=True)] == ["fine"]
        assert look.count("effects") == transactional

    def test_the_dead_letter_is_there(
        self, postgres_broker: PostgresBroker, look: Look, transactional: bool
    ) -> None:
        failing = Failing(postgres_broker, max_retries=0, transactional=transactional)
        sent = failing.actor.send()
        with Bench(postgres_broker) as bench:
            bench.crash(CrashPoint.COMMITTED)
            assert sent.status() is MessageStatus.FAILED
            assert bench.step() is None
        assert look.count("pgqueue.dead_letters") == look.count("pgqueue.outcomes") == failing.runs == 1
        assert look.count("effects") == 0

    def test_the_result_and_the_effect_are_there(
        self, postgres_broker: PostgresBroker, look: Look, transactional: bool
    ) -> None:
        postgres_broker.add_middleware(
            Results(backend=PostgresBackend(broker=postgres_broker), store_results=True)
        )
        failing = Failing(postgres_broker, max_retries=0, transactional=transactional)
        failing.broken = False
        sent = failing.actor.send()
        with Bench(postgres_broker) as bench:
            bench.crash(CrashPoint.COMMITTED)
            assert bench.step() is None
        assert sent.get_result() == "fine"
        assert sent.status() is MessageStatus.DONE
        assert look.count("effects") == transactional


@pytest.mark.parametrize("at", CrashPoint)
def test_the_stub_goes_on_after_a_failure_too(stub_broker: pgqueue.Broker, at: CrashPoint) -> None:
    failing = Failing(stub_broker, max_retries=0)
    failing.actor.send()
    with Bench(stub_broker) as bench:
        bench.crash(at)
        runs = [run.failed for run in bench.drain(fail_fast=False)]
    assert runs == ([] if at is CrashPoint.COMMITTED else [True])


def test_what_a_failure_is_charged_for_buries_it_in_the_end(postgres_broker: PostgresBroker) -> None:
    failing = Failing(postgres_broker, max_retries=5)
    sent = failing.actor.send()
    with Bench(postgres_broker) as bench:
        for at in (CrashPoint.RAN, CrashPoint.FETCHED, CrashPoint.SETTLED, CrashPoint.RAN):
            bench.crash(at)
        assert bench.step() is None
    assert (failing.runs, sent.status()) == (3, MessageStatus.FAILED)


def test_what_a_hook_has_locked_does_not_hold_up_the_crash(postgres_broker: PostgresBroker) -> None:
    """A barrier in a hook is counted down in the settlement's own transaction, which dies with it."""
    barrier = Barrier(LimiterBackend(broker=postgres_broker), "both", ttl=HOUR_MS)
    barrier.create(2)
    passed: list[bool] = []

    class Waits(Middleware):
        def after_process_message(self, *_: object, **__: object) -> None:
            passed.append(barrier.wait(block=False))

    postgres_broker.add_middleware(Waits())
    note = pgqueue.actor(actor_name="note", broker=postgres_broker)(lambda: None)
    note.send()
    with Bench(postgres_broker) as bench:
        bench.crash(CrashPoint.SETTLED)
        bench.crash(CrashPoint.COMMITTED)
        assert bench.step() is None
        note.send()
        bench.drain()
    assert passed == [False, False, True]


def test_nobodys_message_can_not_be_crashed_at_work_and_waits_on(postgres_broker: PostgresBroker) -> None:
    postgres_broker.declare_queue("default")
    postgres_broker.enqueue(
        pgqueue.Message(queue_name="default", actor_name="nobody", args=(), kwargs={}, options={})
    )
    with Bench(postgres_broker) as bench:
        with pytest.raises(ActorNotFound):
            bench.crash(CrashPoint.RAN)
        assert only(postgres_broker).message.actor_name == "nobody"
        assert bench.crash(CrashPoint.FETCHED).actor_name == "nobody"
        run = bench.step()
        assert run is not None
        assert run.failed
