"""FastAPI: an endpoint whose order and message are one commit, and a health check."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.integrations.fastapi import health_router, joined, lifespan

pgqueue.set_broker(PostgresBroker())

engine = create_async_engine(os.environ["PGQUEUE_URL"].replace("://", "+psycopg://", 1))
sessions = async_sessionmaker(engine)


@pgqueue.actor
def ship(number: int) -> None:
    """Runs in a worker."""
    print(f"order {number} is on its way", flush=True)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Commits what an endpoint has done, unless it failed."""
    async with sessions.begin() as session:
        yield session


app = FastAPI(lifespan=lifespan())
app.include_router(health_router())


@app.post("/orders/{customer}")
async def place(customer: str, session: Annotated[AsyncSession, Depends(joined(get_session))]) -> int:
    """Insert a row and send a message; both are there with the commit."""
    insert = text("INSERT INTO orders (customer) VALUES (:customer) RETURNING number")
    number = (await session.execute(insert, {"customer": customer})).scalar_one()
    await ship.send_async(number)
    return number


async def main() -> None:
    """What `uvicorn fastapi_orders:app` and a browser would do."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS orders (number serial, customer text)"))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop")
    async with app.router.lifespan_context(app), client:
        print("Placed order", (await client.post("/orders/Ada")).json())
        print((await client.get("/health/queue")).json())


if __name__ == "__main__":
    asyncio.run(main())
