"""FastAPI: lifespan, the dependency that joins a session's transaction, health check."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import psycopg
import pytest
from fastapi import Depends, FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.integrations.fastapi import health_router, joined, lifespan
from tests.conftest import WorkerFor

INSERT = text("INSERT INTO orders VALUES (:number)")


class Shop:
    """An application with a sync and an async endpoint that do the same."""

    def __init__(self, url: str, broker: PostgresBroker) -> None:
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        self.engine = create_engine(url, poolclass=NullPool)
        sync_sessions = sessionmaker(self.engine)
        async_sessions = async_sessionmaker(create_async_engine(url, poolclass=NullPool))
        self.broker = broker
        self.seen: list[int] = []
        self.app = FastAPI(lifespan=lifespan())
        self.app.include_router(health_router())

        @pgqueue.actor
        def note(number: int) -> None:
            self.seen.append(number)

        def get_session() -> Iterator[Session]:
            with sync_sessions.begin() as session:
                yield session

        async def get_async_session() -> AsyncIterator[AsyncSession]:
            async with async_sessions() as session:
                yield session

        sync_session, async_session = joined(get_session), joined(get_async_session)

        @self.app.post("/sync/{number}")
        def order(number: int, session: Annotated[Session, Depends(sync_session)]) -> int:
            session.execute(INSERT, {"number": number})
            note.send(number)
            return self.checked(number)

        @self.app.post("/async/{number}")
        async def order_async(number: int, session: Annotated[AsyncSession, Depends(async_session)]) -> int:
            await session.execute(INSERT, {"number": number})
            await note.send_async(number)
            found = self.checked(number)
            await session.commit()
            return found

        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (number integer)"))

    def checked(self, number: int) -> int:
        if number == 13:
            raise LookupError(number)
        return self.waiting()

    def waiting(self) -> int:
        """How many messages others see."""
        return self.broker.get_queue_message_counts("default")[0]


@pytest.fixture
def shop(database_url: str, postgres_broker: PostgresBroker) -> Iterator[Shop]:
    made = Shop(database_url, postgres_broker)
    yield made
    made.engine.dispose()


def ask(app: FastAPI, method: str, path: str) -> Response:
    """Start an application, ask it something, and stop it."""

    async def play() -> Response:
        transport = ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            return await client.request(method, path)

    return asyncio.run(play())


class TestJoined:
    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_a_message_is_invisible_before_the_commit_and_runs_after_it(
        self, kind: str, shop: Shop, worker_for: WorkerFor
    ) -> None:
        worker_for(shop.broker, worker_threads=1)
        answer = ask(shop.app, "POST", f"/{kind}/1")
        assert (answer.status_code, answer.json()) == (200, 0)
        shop.broker.join("default", timeout=20_000)
        assert shop.seen == [1]

    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_an_endpoint_that_fails_sends_nothing(self, kind: str, shop: Shop) -> None:
        assert ask(shop.app, "POST", f"/{kind}/13").status_code == 500
        assert shop.waiting() == 0
        assert ask(shop.app, "POST", f"/{kind}/14").status_code == 200
        assert shop.waiting() == 1


class TestHealth:
    def test_a_queue_that_can_be_used_is_ok(self, shop: Shop) -> None:
        answer = ask(shop.app, "GET", "/health/queue")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ok", "database": True, "schema": True, "workers": 0}

    def test_one_without_tables_starts_and_is_unavailable(self, empty_database_url: str) -> None:
        broker = PostgresBroker(empty_database_url)
        app = FastAPI(lifespan=lifespan(broker=broker))
        app.include_router(health_router("/healthz", broker=broker))
        answer = ask(app, "GET", "/healthz")
        assert answer.status_code == 503
        assert answer.json()["schema"] is False

    def test_workers_may_be_asked_for(self, postgres_broker: PostgresBroker) -> None:
        app = FastAPI()
        app.include_router(health_router(least_workers=1))
        assert ask(app, "GET", "/health/queue").status_code == 503


class TestLifespan:
    def test_the_applications_own_is_inside(self, stub_broker: StubBroker) -> None:
        @asynccontextmanager
        async def own(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
            order.append("begins")
            yield {"colour": "red"}
            order.append("ends")

        async def play() -> Any:
            app = FastAPI(lifespan=lifespan(own))
            async with app.router.lifespan_context(app) as state:
                return state

        order: list[str] = []
        assert asyncio.run(play()) == {"colour": "red"}
        assert order == ["begins", "ends"]

    def test_its_connections_end_with_it(self, shop: Shop) -> None:
        ask(shop.app, "POST", "/async/1")
        with psycopg.connect(shop.broker.database.url) as connection:
            found = connection.execute(
                "SELECT application_name FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'pgqueue%'"
            ).fetchall()
        assert found == []
