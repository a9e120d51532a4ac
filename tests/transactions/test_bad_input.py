"""Targets that can't be used: an error that says what to do, nothing sent, and the transaction as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import psycopg
import psycopg_pool
import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import orm

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import (
    NotATarget,
    NoTransaction,
    PermissionDenied,
    SchemaOutdated,
    TargetClosed,
    TargetElsewhere,
    TargetFailed,
    TargetMismatch,
    TransactionError,
)
from tests.support.postgres import Databases

from .apps import App, AsyncApp
from .async_apps import ASYNC_APPS, AsyncpgApp, AsyncPsycopgApp, AsyncSqlalchemyApp
from .sync_apps import SYNC_APPS, DjangoApp, PsycopgApp, SqlalchemyApp, engine_options

AnyActor = pgqueue.Actor[..., Any]


def sent(broker: PostgresBroker) -> int:
    return broker.get_queue_message_counts("default")[0]


@pytest.fixture
def open_app(database_url: str, postgres_broker: PostgresBroker) -> Iterator[Callable[[type[App]], App]]:
    """Open applications; they are closed after the test."""
    opened: list[App] = []

    def open_one(kind: type[App], url: str = database_url) -> App:
        opened.append(kind(url))
        return opened[-1]

    yield open_one
    for app in opened:
        with suppress(Exception):
            app.close()


# ── The state of the transaction, for each kind ───────────────────────────────────────────────────


def test_a_failed_transaction_is_refused_and_can_be_rolled_back(
    app: App, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    app.begin()
    app.savepoint()
    with pytest.raises(Exception, match="zero"):
        app.execute("SELECT 1/0")
    with pytest.raises(TargetFailed, match="Roll it back"):
        app.send_within(note, 1)
    app.rollback_to_savepoint()
    app.send_within(note, 2)
    app.commit()
    assert sent(postgres_broker) == 1


@pytest.mark.parametrize("kind", [*SYNC_APPS.values()], ids=[*SYNC_APPS])
def test_coroutines_do_not_send_through_what_blocks(
    app: App, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    app.begin()
    app.enter()
    with asyncio.Runner() as runner:
        with pytest.raises(TargetMismatch, match="not async"):
            runner.run(note.send_async(1))
        with pytest.raises(TargetMismatch, match="not async"):
            runner.run(pgqueue.transaction(app.target).__aenter__())
    app.leave()
    app.commit()
    assert sent(postgres_broker) == 0


@pytest.mark.parametrize("kind", [*ASYNC_APPS.values()], ids=[*ASYNC_APPS])
def test_only_coroutines_send_through_what_is_awaited(
    app: AsyncApp, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    async def send() -> None:
        async with pgqueue.transaction(app.target):
            with pytest.raises(TargetMismatch, match=r"await actor\.send_async"):
                note.send(1)

    app.begin()
    app._run(send())
    with pytest.raises(TargetMismatch, match="async with"):
        pgqueue.transaction(app.target).__enter__()
    app.commit()
    assert sent(postgres_broker) == 0


def test_a_connection_to_another_database_is_refused(
    kind: type[App],
    open_app: Callable[..., App],
    databases: Databases,
    postgres_broker: PostgresBroker,
    note: AnyActor,
) -> None:
    for migrated in (True, False):
        url = databases.create(migrated=migrated)
        app = open_app(kind, url)
        app.begin()
        app.execute("CREATE TABLE mine (id int)")
        with pytest.raises(TargetElsewhere, match="another database"):
            app.send_within(note, 1)
        app.execute("INSERT INTO mine VALUES (1)")
        app.commit()
        app.close()
        with psycopg.connect(url) as conn:
            assert conn.execute("SELECT count(*) FROM mine").fetchone() == (1,)
        databases.drop(url)
    assert sent(postgres_broker) == 0


# ── Closed, and in autocommit mode ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [PsycopgApp, SqlalchemyApp, AsyncPsycopgApp, AsyncpgApp, AsyncSqlalchemyApp])
def test_a_closed_connection_is_refused(
    open_app: Callable[..., App], kind: type[App], postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    app = open_app(kind)
    app.begin()
    app.enter()
    app._run(app.close_async()) if isinstance(app, AsyncApp) else app.close()
    with pytest.raises(TargetClosed, match="it is closed"):
        app.send(note, 1)
    app.leave()
    assert sent(postgres_broker) == 0


def test_a_connection_that_djangos_transaction_has_lost_is_refused(
    open_app: Callable[..., App], postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    app = open_app(DjangoApp)
    app.begin()
    app.enter()
    assert isinstance(app, DjangoApp)
    app.wrapper.close()
    with pytest.raises(TargetClosed):
        app.send(note, 1)
    app.leave()
    assert sent(postgres_broker) == 0


def test_a_connection_that_its_pool_has_back_is_refused(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    async def send() -> None:
        import asyncpg  # noqa: PLC0415  # as a program does that uses it

        async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
            conn = await pool.acquire()
            await pool.release(conn)
            async with pgqueue.transaction(conn):
                with pytest.raises(TargetClosed):
                    await note.send_async(1)
        await postgres_broker.close_async()

    asyncio.run(send())
    assert sent(postgres_broker) == 0


class TestAutocommit:
    def test_of_psycopg(self, database_url: str, postgres_broker: PostgresBroker, note: AnyActor) -> None:
        with psycopg.connect(database_url, autocommit=True) as conn:
            with (
                pgqueue.transaction(conn),
                pytest.raises(NoTransaction, match=r"connection\.transaction\(\)"),
            ):
                note.send(1)
            with conn.transaction(), pgqueue.transaction(conn):
                note.send(2)
        assert sent(postgres_broker) == 1

    @pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "pg8000"])
    @pytest.mark.parametrize("of_engine", [True, False])
    def test_of_sqlalchemy(
        self,
        database_url: str,
        postgres_broker: PostgresBroker,
        note: AnyActor,
        driver: str,
        of_engine: bool,
    ) -> None:
        options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if of_engine else {}
        engine = sqlalchemy.create_engine(**engine_options(database_url, driver), **options)
        with engine.connect() as conn, orm.Session(engine if of_engine else conn) as session:
            if not of_engine:
                conn.execution_options(isolation_level="AUTOCOMMIT")
            for target in (conn, session):
                with pgqueue.transaction(target), pytest.raises(NoTransaction, match="AUTOCOMMIT"):
                    note.send(1)
        assert sent(postgres_broker) == 0

    def test_of_what_is_awaited(
        self, database_url: str, postgres_broker: PostgresBroker, note: AnyActor, open_app: Callable[..., App]
    ) -> None:
        app = open_app(AsyncpgApp)
        with pytest.raises(NoTransaction, match=r"connection\.transaction\(\)"):
            app.send_within(note, 1)
        other = open_app(AsyncSqlalchemyApp)
        assert isinstance(other, AsyncSqlalchemyApp)
        other._run(other.target.execution_options(isolation_level="AUTOCOMMIT"))
        with pytest.raises(NoTransaction, match="AUTOCOMMIT"):
            other.send_within(note, 1)
        assert sent(postgres_broker) == 0

    def test_of_django(
        self, postgres_broker: PostgresBroker, note: AnyActor, open_app: Callable[..., App]
    ) -> None:
        app = open_app(DjangoApp)
        with pytest.raises(NoTransaction, match="atomic"):
            app.send_within(note, 1)
        assert sent(postgres_broker) == 0


# ── What is no target ─────────────────────────────────────────────────────────────────────────────


def test_what_connections_are_made_of_is_no_target(database_url: str) -> None:
    engine = sqlalchemy.create_engine(**engine_options(database_url, "psycopg"))
    pool = psycopg_pool.ConnectionPool(database_url, open=False)
    for target in (engine, orm.sessionmaker(engine), pool):
        with pytest.raises(NotATarget, match="open one first"):
            pgqueue.transaction(target)


def test_a_connection_to_another_product_is_no_target(
    postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as conn, pgqueue.transaction(conn), pytest.raises(NotATarget, match="sqlite"):
        note.send(1)
    engine.dispose()


def test_a_session_without_an_engine_says_so(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    engine = sqlalchemy.create_engine(**engine_options(database_url, "psycopg"))
    cases: list[tuple[orm.Session, type[TransactionError]]] = [
        (orm.Session(), NotATarget),
        (orm.Session(engine, autobegin=False), NoTransaction),
    ]
    for session, expected in cases:
        with session, pgqueue.transaction(session), pytest.raises(expected):
            note.send(1)
    assert sent(postgres_broker) == 0


def test_a_session_whose_flush_has_failed_is_refused(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    engine = sqlalchemy.create_engine(**engine_options(database_url, "psycopg"))
    base = orm.declarative_base()

    class Order(base):  # type: ignore[valid-type, misc]  # made at run time
        __tablename__ = "orders"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)

    base.metadata.create_all(engine)
    with orm.Session(engine) as session, pgqueue.transaction(session):
        session.add(Order(id=1))
        session.commit()
        session.add(Order(id=1))
        with suppress(sqlalchemy.exc.IntegrityError):
            session.flush()
        with pytest.raises(TargetFailed):
            note.send(1)
        session.rollback()
        note.send(2)
        session.commit()
    assert sent(postgres_broker) == 1


# ── The schema and the role ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("revision", [None, "pgqueue_0001"])
def test_a_database_without_our_schema_or_with_an_older_one_leaves_the_transaction_well(
    empty_database_url: str, revision: str | None
) -> None:
    from pgqueue import schema  # noqa: PLC0415  # Alembic takes a while, and other tests do without

    if revision is not None:
        schema.upgrade(empty_database_url, revision=revision)
    broker = PostgresBroker(empty_database_url)
    with psycopg.connect(empty_database_url) as conn, closing(broker):
        conn.execute("CREATE TABLE mine (id int)")
        with pgqueue.transaction(conn), pytest.raises(SchemaOutdated, match="pgqueue migrate"):
            broker.enqueue(pgqueue.Message("default", "note", (), {}, {}))
        conn.commit()
        schema.upgrade(empty_database_url)
        with pgqueue.transaction(conn):
            broker.enqueue(pgqueue.Message("default", "note", (), {}, {}))
        conn.commit()
        assert sent(broker) == 1


def test_a_role_without_rights_is_told_so_and_its_transaction_goes_on(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    role = f"stranger_to_{conninfo_to_dict(database_url)['dbname']}"
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
        owner.execute(f"CREATE SCHEMA {role} AUTHORIZATION {role}".encode())
        try:
            with psycopg.connect(make_conninfo(database_url, user=role, password="secret")) as conn:
                conn.execute(f"CREATE TABLE {role}.mine (id int)".encode())
                with (
                    pgqueue.transaction(conn),
                    pytest.raises(PermissionDenied, match="may not write messages"),
                ):
                    note.send(1)
                conn.commit()
        finally:
            owner.execute(f"DROP OWNED BY {role}".encode())
            owner.execute(f"DROP ROLE {role}".encode())
    assert sent(postgres_broker) == 0


def test_a_schema_that_is_gone_is_told_and_found_when_it_is_there_again(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    from pgqueue import schema  # noqa: PLC0415

    with psycopg.connect(database_url) as conn, pgqueue.transaction(conn):
        note.send(1)
        conn.commit()
        schema.downgrade(database_url)
        with pytest.raises(SchemaOutdated):
            note.send(2)
        conn.rollback()
        schema.upgrade(database_url)
        note.send(3)
        conn.commit()
    assert sent(postgres_broker) == 1


def test_errors_of_the_application_s_transaction_stay_what_its_driver_says(
    database_url: str, postgres_broker: PostgresBroker, note: AnyActor
) -> None:
    conn = psycopg.connect(database_url)
    with pgqueue.transaction(conn):
        note.send(1)
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        with pytest.raises(psycopg.errors.AdminShutdown):
            note.send(2)
    conn.close()
    assert issubclass(TargetFailed, TransactionError)
    assert sent(postgres_broker) == 0
