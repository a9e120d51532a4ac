"""Coroutines send and wait for results without holding up their event loop, on every broker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import pgqueue
from pgqueue.broker import Broker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.engine import mailbox
from pgqueue.errors import ResultFailure, ResultMissing, ResultTimeout
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend as PostgresLimits, StubBackend as StubLimits
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend, StubBackend
from tests.conftest import WorkerFor
from tests.support.eventually import eventually

AnyActor = pgqueue.Actor[..., Any]


@pytest.fixture
def double(broker: Broker) -> AnyActor:
    """An actor that stores its results, in the broker's place."""
    if isinstance(broker, PostgresBroker):
        broker.add_middleware(Results(backend=PostgresBackend(broker=broker)))
        broker.add_middleware(GroupCallbacks(PostgresLimits(broker=broker)))
    else:
        broker.add_middleware(Results(backend=StubBackend()))
        broker.add_middleware(GroupCallbacks(StubLimits()))

    @pgqueue.actor(store_results=True, max_retries=0)
    def double(number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return 2 * number

    return double


@pytest.fixture
def runner(broker: Broker) -> Iterator[asyncio.Runner]:
    """An event loop, with which the broker's connections for it are closed."""
    with asyncio.Runner() as runner:
        yield runner
        runner.run(broker.close_async())


def test_what_is_sent_runs_and_its_result_comes(
    broker: Broker, double: AnyActor, runner: asyncio.Runner, worker_for: WorkerFor
) -> None:
    worker_for(broker)

    async def send() -> list[int]:
        one = await double.send_async(1)
        two = await double.send_with_options_async(args=(2,), delay=10)
        three, four = await double.send_many_async([(3,), (4,)])
        five = await broker.enqueue_async(double.message(5))
        (six,) = await broker.enqueue_many_async([double.message(6)], delay=5)
        sent = [one, two, three, four, five, six]
        return list(
            await asyncio.gather(*(each.get_result_async(block=True, timeout=15_000) for each in sent))
        )

    assert runner.run(send()) == [2, 4, 6, 8, 10, 12]


def test_compositions_run_and_their_results_come_as_they_are_there(
    broker: Broker, double: AnyActor, runner: asyncio.Runner, worker_for: WorkerFor
) -> None:
    worker_for(broker)
    called = threading.Event()

    @pgqueue.actor
    def call() -> None:
        called.set()

    async def run() -> tuple[int, list[Any], Any]:
        chain = await (double.message(1) | double.message()).run_async()
        inner = pgqueue.group([double.message(10), double.message(20)])
        mixed = pgqueue.group([double.message(3), double.message(5) | double.message(), inner])
        await mixed.run_async()
        results = [result async for result in mixed.results_async(timeout=15_000)]
        counted = pgqueue.group([double.message(7), double.message(8)])
        counted.add_completion_callback(call.message())
        await (await counted.run_async()).wait_async(timeout=15_000)
        return await chain.get_result_async(block=True, timeout=15_000), results, counted

    chained, results, _ = runner.run(run())
    assert chained == 4
    assert sorted(results, key=str) == [20, 6, [20, 40]]
    assert called.wait(10)


def test_the_result_that_comes_first_is_had_first(
    broker: Broker, runner: asyncio.Runner, double: AnyActor, worker_for: WorkerFor
) -> None:
    go = threading.Event()

    @pgqueue.actor(store_results=True)
    def wait() -> str:
        assert go.wait(20)
        return "late"

    worker_for(broker, worker_threads=2)

    async def run() -> list[Any]:
        group = await pgqueue.group([wait.message(), double.message(1)]).run_async()
        results = []
        async for result in group.results_async(timeout=20_000):
            results.append(result)  # the first lets the second be
            go.set()
        return results

    assert runner.run(run()) == [2, "late"]


def test_what_is_missing_or_has_failed_is_told(
    broker: Broker, double: AnyActor, runner: asyncio.Runner, worker_for: WorkerFor
) -> None:
    async def miss() -> None:
        message = await double.send_async(-1)
        with pytest.raises(ResultMissing):
            await message.get_result_async()
        for timeout in (0, 20):
            with pytest.raises(ResultTimeout):
                await message.get_result_async(block=True, timeout=timeout)
        with pytest.raises(ResultTimeout):
            await pgqueue.group([message]).wait_async(timeout=20)

    async def fail() -> None:
        group = await pgqueue.group([double.message(-1), double.message(-2)]).run_async()
        with pytest.raises(ResultFailure, match="ValueError"):
            await group.wait_async(timeout=15_000)

    runner.run(miss())
    worker_for(broker)
    runner.run(fail())


class TestPostgres:
    @pytest.fixture
    def broker(self, postgres_broker: PostgresBroker) -> PostgresBroker:
        return postgres_broker

    def test_a_notification_ends_the_wait(
        self,
        broker: PostgresBroker,
        double: AnyActor,
        runner: asyncio.Runner,
        worker_for: WorkerFor,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Looks are so rare here that only a notification can bring the result in time."""
        monkeypatch.setattr("pgqueue.engine.async_mailbox.LAST_LOOK_S", 3600.0)
        monkeypatch.setattr("pgqueue.engine.async_mailbox.UNTOLD_LOOK_S", 0.02)
        monkeypatch.setattr("pgqueue.engine.async_mailbox.FIRST_LOOK_S", 600.0)

        async def run() -> int:
            message = await double.send_async(4)
            waiting = asyncio.create_task(message.get_result_async(block=True, timeout=50_000))
            async with asyncio.timeout(20):
                while not await self.words(broker):  # noqa: ASYNC110  # it changes in the database
                    await asyncio.sleep(0.01)
            worker_for(broker)
            result: int = await waiting
            return result

        assert runner.run(run()) == 8

    async def words(self, broker: PostgresBroker) -> int:
        async with broker._async_database.connection() as conn:
            row = await (await conn.execute("SELECT count(*) FROM pgqueue.waits")).fetchone()
            assert row is not None
            return int(row[0])

    def test_no_thread_is_made_for_a_call(
        self, broker: PostgresBroker, double: AnyActor, runner: asyncio.Runner, worker_for: WorkerFor
    ) -> None:
        """But for that which hears of results for the whole process."""
        before = {thread.name for thread in threading.enumerate()}

        async def run() -> set[str]:
            messages = await double.send_many_async([(number,) for number in range(50)])
            waits = [asyncio.create_task(one.get_result_async(block=True)) for one in messages]
            await asyncio.sleep(0)
            during = {thread.name for thread in threading.enumerate()}
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
            return during

        assert runner.run(run()) - before <= {"pgqueue-mailbox"}

    def test_each_loop_has_its_connections_and_a_closed_loop_none(
        self, broker: PostgresBroker, double: AnyActor
    ) -> None:
        async def send_and_leave_open() -> None:
            await double.send_async(1)

        for _ in range(3):
            asyncio.run(send_and_leave_open())
        self.expect_connections(broker, 1)
        broker.close()
        self.expect_connections(broker, 0)

    def expect_connections(self, broker: PostgresBroker, most: int) -> None:
        """Wait until the server has no more of them; it notices the end of one a moment later."""
        query = """SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'pgqueue' AND datname = current_database() AND pid <> pg_backend_pid()"""

        def look() -> None:
            with broker.database.connect(application_name="test") as conn:
                row = conn.execute(query).fetchone()
                assert row is not None
                assert row[0] <= most

        broker.database.close()
        eventually(look, within_s=30.0)

    def test_the_broker_closes_the_pool_of_a_loop_in_another_thread(
        self, broker: PostgresBroker, double: AnyActor
    ) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(double.send_async(1), loop).result(10)
            broker.close()
            self.expect_connections(broker, 0)
            asyncio.run_coroutine_threadsafe(double.send_async(2), loop).result(10)
            asyncio.run_coroutine_threadsafe(broker.close_async(), loop).result(10)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
        assert broker.get_queue_message_counts("default")[0] == 2

    def test_a_backend_of_its_own_database_serves_coroutines(
        self, broker: PostgresBroker, double: AnyActor, database_url: str, worker_for: WorkerFor
    ) -> None:
        worker_for(broker)
        backend = PostgresBackend(url=database_url)

        async def run() -> int:
            message = await double.send_async(4)
            result: int = await message.get_result_async(backend=backend, block=True, timeout=15_000)
            assert await message.get_result_async(backend=backend) == result
            await broker.close_async()
            return result

        assert asyncio.run(run()) == 8
        backend.close()
        assert mailbox.IDLE_S > 0


def test_the_stub_sends_inside_of_blocks_as_ever(stub_broker: StubBroker) -> None:
    """It has no transactions: what is sent is there."""

    @pgqueue.actor
    def note() -> None:
        pass

    asyncio.run(note.send_async())
    assert stub_broker.queues["default"].qsize() == 1
