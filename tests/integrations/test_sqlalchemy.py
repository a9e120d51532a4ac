"""Sessions that are bound: what is sent while one is in a transaction is sent by its commit."""

import asyncio
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import TargetFailed, TargetMismatch
from pgqueue.integrations.sqlalchemy import bind
from pgqueue.transactions import outside_transaction, unregister_ambient
from tests.conftest import WorkerFor

ONE = text("SELECT 1")


@pytest.fixture
def engine_url(database_url: str) -> str:
    return database_url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def bound() -> Iterator[Callable[..., None]]:
    """Bind, until the end of the test."""
    made: list[Any] = []
    yield lambda *args, **options: made.append(bind(*args, **options))
    for sessions in made:
        unregister_ambient(sessions)


@pytest.fixture
def maker(engine_url: str, bound: Callable[..., None]) -> Iterator[sessionmaker[Session]]:
    engine = create_engine(engine_url, poolclass=NullPool)
    made = sessionmaker(engine)
    bound(made)
    yield made
    engine.dispose()


@pytest.fixture
def async_maker(engine_url: str, bound: Callable[..., None]) -> async_sessionmaker[AsyncSession]:
    made = async_sessionmaker(create_async_engine(engine_url, poolclass=NullPool))
    bound(made)
    return made


@pytest.fixture
def note(postgres_broker: PostgresBroker) -> pgqueue.Actor[[int], None]:
    @pgqueue.actor
    def note(number: int) -> None:
        numbers.append(number)

    numbers: list[int] = []
    note.options["numbers"] = numbers
    return note


Note = pgqueue.Actor[[int], None]


def waiting(broker: PostgresBroker) -> int:
    """How many messages others see."""
    return broker.get_queue_message_counts("default")[0]


def test_what_a_process_sends_that_was_forked_meanwhile_is_sent_at_once(
    maker: sessionmaker[Session], note: Note, postgres_broker: PostgresBroker
) -> None:
    with maker() as session:
        session.execute(ONE)
        note.send(1)
        process = multiprocessing.get_context("fork").Process(target=note.send, args=(2,))
        process.start()
        process.join(20)
        assert process.exitcode == 0
        note.send(3)
        session.rollback()
    assert waiting(postgres_broker) == 1


class TestEvents:
    def test_before_the_commit_a_message_is_part_of_it(
        self, maker: sessionmaker[Session], note: Note, postgres_broker: PostgresBroker
    ) -> None:
        event.listen(maker, "before_commit", lambda _session: note.send(1))
        with maker() as session:
            session.execute(ONE)
            session.commit()
        assert waiting(postgres_broker) == 1

    def test_after_the_commit_a_message_is_sent_at_once(
        self, maker: sessionmaker[Session], note: Note, postgres_broker: PostgresBroker
    ) -> None:
        event.listen(maker, "after_commit", lambda _session: note.send(1))
        with maker() as session:
            session.execute(ONE)
            session.commit()
            assert waiting(postgres_broker) == 1
            session.execute(ONE)
            note.send(2)
            assert waiting(postgres_broker) == 1
            session.rollback()

    def test_after_the_commit_of_an_async_session_as_well(
        self, async_maker: async_sessionmaker[AsyncSession], note: Note, postgres_broker: PostgresBroker
    ) -> None:
        event.listen(async_maker.kw["sync_session_class"], "after_commit", lambda _session: note.send(1))

        async def commit() -> None:
            async with async_maker() as session:
                await session.execute(ONE)
                await session.commit()

        asyncio.run(commit())
        assert waiting(postgres_broker) == 1

    def test_a_failed_transaction_still_takes_none(
        self, maker: sessionmaker[Session], note: Note, postgres_broker: PostgresBroker
    ) -> None:
        event.listen(maker, "after_rollback", lambda _session: note.send(1))
        with maker() as session:
            session.execute(ONE)
            with pytest.raises(TargetFailed):
                session.rollback()
        assert waiting(postgres_broker) == 0


class TestSessions:
    def test_a_message_is_invisible_before_the_commit_and_runs_after_it(
        self, maker: sessionmaker[Session], postgres_broker: PostgresBroker, note: Note, worker_for: WorkerFor
    ) -> None:
        worker_for(postgres_broker, worker_threads=1)
        with maker() as session:
            session.execute(ONE)
            note.send(1)
            assert waiting(postgres_broker) == 0
            session.commit()
        postgres_broker.join("default", timeout=20_000)
        assert note.options["numbers"] == [1]

    def test_a_message_of_a_rollback_never_was(
        self, maker: sessionmaker[Session], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        with maker() as session:
            session.begin()
            note.send(1)
            session.rollback()
            note.send(2)
        assert waiting(postgres_broker) == 1

    def test_savepoints_are_as_sql_has_them(
        self, maker: sessionmaker[Session], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        with maker.begin() as session:
            note.send(1)
            with session.begin_nested() as savepoint:
                note.send(2)
                savepoint.rollback()
            note.send(3)
        assert waiting(postgres_broker) == 2

    def test_one_session_may_have_many_transactions(
        self, maker: sessionmaker[Session], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        with maker() as session:
            for number in range(3):
                session.execute(ONE)
                note.send(number)
                session.commit()
            session.execute(ONE)
            note.send(4)
        assert waiting(postgres_broker) == 3

    def test_the_session_that_has_begun_last_and_goes_on_is_joined(
        self, maker: sessionmaker[Session], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        with maker() as outer:
            outer.execute(ONE)
            with maker() as inner:
                inner.execute(ONE)
                note.send(1)
                inner.rollback()
                note.send(2)
            outer.commit()
        assert waiting(postgres_broker) == 1

    def test_threads_join_their_own(
        self, maker: sessionmaker[Session], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        with maker() as session:
            session.execute(ONE)
            thread = threading.Thread(target=note.send, args=(1,))
            thread.start()
            thread.join()
            assert waiting(postgres_broker) == 1

    def test_a_block_may_leave_it_out(
        self, maker: sessionmaker[Session], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        with maker() as session:
            session.execute(ONE)
            with outside_transaction():
                note.send(1)
        assert waiting(postgres_broker) == 1

    def test_sessions_of_others_and_messages_of_other_brokers_are_left_alone(
        self, engine_url: str, bound: Callable[..., None], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        engine = create_engine(engine_url, poolclass=NullPool)
        theirs, ours = sessionmaker(engine), sessionmaker(engine)
        bound(ours, broker=StubBroker())
        with theirs() as one, ours() as other:
            one.execute(ONE)
            other.execute(ONE)
            note.send(1)
        assert waiting(postgres_broker) == 1

    @pytest.mark.parametrize("kind", ["scoped_session", "class"])
    def test_scoped_sessions_and_classes_can_be_bound(
        self,
        kind: str,
        engine_url: str,
        bound: Callable[..., None],
        postgres_broker: PostgresBroker,
        note: Note,
    ) -> None:
        class Own(Session):
            pass

        scoped = scoped_session(sessionmaker(create_engine(engine_url, poolclass=NullPool), class_=Own))
        bound(scoped if kind == "scoped_session" else Own)
        scoped.execute(ONE)
        note.send(1)
        assert waiting(postgres_broker) == 0
        scoped.commit()
        assert waiting(postgres_broker) == 1
        scoped.remove()

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(TypeError, match="takes a sessionmaker or an async_sessionmaker, not 'engine'"):
            bind("engine")  # type: ignore[arg-type]  # what is wrong here


class TestAsyncSessions:
    def test_a_message_is_sent_by_the_commit_and_never_after_a_rollback(
        self, async_maker: async_sessionmaker[AsyncSession], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        async def play() -> int:
            async with async_maker() as session:
                await session.execute(ONE)
                await note.send_async(1)
                before = waiting(postgres_broker)
                await session.commit()
                await session.execute(ONE)
                await note.send_async(2)
            async with async_maker.begin():
                await note.send_async(3)
            await postgres_broker.close_async()
            return before

        assert asyncio.run(play()) == 0
        assert waiting(postgres_broker) == 2

    def test_tasks_join_their_own(
        self, async_maker: async_sessionmaker[AsyncSession], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        async def one(number: int, met: asyncio.Barrier) -> None:
            async with async_maker() as session:
                await session.execute(ONE)
                await met.wait()
                await note.send_async(number)
                await met.wait()
                if number % 2:
                    await session.commit()

        async def play() -> None:
            met = asyncio.Barrier(4)
            await asyncio.gather(*(one(number, met) for number in range(4)))
            async with async_maker() as session:
                await session.execute(ONE)
                # One that was begun in the middle of a transaction is not part of it.
                await asyncio.create_task(note.send_async(5))
            await postgres_broker.close_async()

        asyncio.run(play())
        assert waiting(postgres_broker) == 3

    def test_a_plain_send_says_what_to_do(
        self, async_maker: async_sessionmaker[AsyncSession], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        async def play() -> None:
            async with async_maker.begin():
                with pytest.raises(TargetMismatch, match="send_async"):
                    note.send(1)

        asyncio.run(play())
        assert waiting(postgres_broker) == 0

    def test_a_scoped_session_and_an_own_class_can_be_bound(
        self, engine_url: str, bound: Callable[..., None], postgres_broker: PostgresBroker, note: Note
    ) -> None:
        class Own(Session):
            pass

        made = async_sessionmaker(create_async_engine(engine_url, poolclass=NullPool), sync_session_class=Own)
        scoped = async_scoped_session(made, scopefunc=asyncio.current_task)
        bound(scoped)

        async def play() -> None:
            await scoped.execute(ONE)
            assert isinstance(scoped().sync_session, Own)
            await note.send_async(1)
            await scoped.rollback()
            await scoped.execute(ONE)
            await note.send_async(2)
            await scoped.commit()
            await scoped.remove()
            await postgres_broker.close_async()

        asyncio.run(play())
        assert waiting(postgres_broker) == 1
