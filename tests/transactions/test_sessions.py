"""What sessions and pools of applications go through while messages are sent in their transactions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import asyncpg
import psycopg_pool
import pytest
import sqlalchemy
from sqlalchemy import orm, text

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import NestedTransactions, NotATarget, TargetElsewhere

from .sync_apps import engine_options

AnyActor = pgqueue.Actor[..., Any]


@pytest.fixture
def engine(database_url: str) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(**engine_options(database_url, "psycopg"))
    with made.begin() as conn:
        conn.execute(text("CREATE TABLE orders (id int PRIMARY KEY)"))
    yield made
    made.dispose()


class Base(orm.DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


class Visit(Base):
    __tablename__ = "visits"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


def sent(broker: PostgresBroker) -> int:
    return broker.get_queue_message_counts("default")[0]


def orders(engine: sqlalchemy.Engine) -> int:
    with engine.connect() as conn:
        return int(conn.execute(text("SELECT count(*) FROM orders")).scalar_one())


def test_each_transaction_of_a_block_takes_what_was_sent_in_it(
    engine: sqlalchemy.Engine, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    """After a commit or rollback a session begins the next with whatever comes first, here a message."""
    with orm.Session(engine) as session, pgqueue.transaction(session):
        note.send(1)
        session.commit()
        assert sent(postgres_broker) == 1
        note.send(2)
        assert sent(postgres_broker) == 1
        session.rollback()
        note.send(3)
        session.commit()
    assert sent(postgres_broker) == 2


def test_a_session_that_is_closed_midway_rolls_back_and_may_go_on(
    engine: sqlalchemy.Engine, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    session = orm.Session(engine)
    with pgqueue.transaction(session):
        note.send(1)
        session.close()
        note.send(2)
        session.commit()
    session.close()
    assert sent(postgres_broker) == 1


def test_objects_that_wait_for_a_flush_are_of_the_same_transaction(
    engine: sqlalchemy.Engine, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    with orm.Session(engine) as session, pgqueue.transaction(session):
        session.add(Order(id=1))
        note.send(1)
        with session.begin_nested() as savepoint:
            session.add(Order(id=2))
            note.send(2)
            savepoint.rollback()
        with session.begin_nested():
            session.add(Order(id=3))
            note.send(3)
        assert (orders(engine), sent(postgres_broker)) == (0, 0)
        session.commit()
    assert (orders(engine), sent(postgres_broker)) == (2, 2)


def test_of_a_session_with_two_engines_the_connection_says_which(
    engine: sqlalchemy.Engine, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    other = sqlalchemy.create_engine("sqlite://")
    session = orm.Session(binds={Order: engine, Visit: other})
    with session, pgqueue.transaction(session), pytest.raises(NotATarget, match=r"session\.connection"):
        note.send(1)
    with session:
        session.add(Order(id=1))
        connection = session.connection(bind_arguments={"mapper": Order})
        with pgqueue.transaction(connection):
            note.send(2)
        with (
            pgqueue.transaction(session.connection(bind_arguments={"mapper": Visit})),
            pytest.raises(NotATarget, match="sqlite"),
        ):
            note.send(3)
        session.commit()
    other.dispose()
    assert (orders(engine), sent(postgres_broker)) == (1, 1)


def test_a_scoped_session_is_each_threads_own(
    engine: sqlalchemy.Engine, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    sessions = orm.scoped_session(orm.sessionmaker(engine))
    barrier = threading.Barrier(4, timeout=30)

    def work(number: int) -> None:
        with pgqueue.transaction(sessions):
            sessions.add(Order(id=number))
            note.send(number)
            barrier.wait()
            sessions.commit() if number % 2 else sessions.rollback()
        sessions.remove()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert (orders(engine), sent(postgres_broker)) == (2, 2)


def test_a_pool_hands_on_connections_that_remember_nothing(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    with psycopg_pool.ConnectionPool(database_url, min_size=1, max_size=1) as pool:
        for number in range(4):
            with pool.connection() as conn, pgqueue.transaction(conn):
                note.send(number)
                if number % 2:
                    conn.rollback()

    async def send() -> None:
        async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
            for number in range(4):
                async with pool.acquire() as conn:
                    transaction = conn.transaction()
                    await transaction.start()
                    async with pgqueue.transaction(conn):
                        await note.send_async(number)
                    await (transaction.rollback() if number % 2 else transaction.commit())
        await postgres_broker.close_async()

    asyncio.run(send())
    assert sent(postgres_broker) == 4


def test_a_refused_block_of_a_generator_leaves_the_one_around_it_as_it_was(
    engine: sqlalchemy.Engine, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    @contextmanager
    def order(*, commits: bool) -> Iterator[None]:
        with orm.Session(engine) as session, pgqueue.transaction(session):
            yield
            session.commit() if commits else session.rollback()

    one = order(commits=True)
    with one:
        note.send(1)
        with pytest.raises(NestedTransactions), order(commits=False):
            note.send(2)
        note.send(3)
    note.send(4)
    assert sent(postgres_broker) == 3


def test_tasks_in_different_transactions_send_side_by_side(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    async def work(number: int) -> None:
        conn = await asyncpg.connect(database_url)
        transaction = conn.transaction()
        await transaction.start()
        async with pgqueue.transaction(conn):
            await asyncio.gather(*(note.send_async(number) for _ in range(3)))
        await (transaction.commit() if number % 2 else transaction.rollback())
        await conn.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(work(number) for number in range(6)), note.send_async(-1))
        await postgres_broker.close_async()

    asyncio.run(all_of_them())
    assert sent(postgres_broker) == 10


def test_the_same_server_with_another_database_is_elsewhere_each_time(
    engine: sqlalchemy.Engine, empty_database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    other = sqlalchemy.create_engine(**engine_options(empty_database_url, "psycopg"))
    for _ in range(2):
        with other.connect() as conn, pgqueue.transaction(conn), pytest.raises(TargetElsewhere):
            note.send(1)
        with engine.begin() as conn, pgqueue.transaction(conn):
            note.send(2)
    other.dispose()
    assert sent(postgres_broker) == 2
