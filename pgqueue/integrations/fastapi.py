"""pgqueue in a FastAPI application: its life, a dependency that joins a session's transaction, and a health check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from ..errors import MissingExtra

try:
    from fastapi import APIRouter, Depends, FastAPI
    from fastapi.responses import JSONResponse
except ImportError as error:
    raise MissingExtra("fastapi", "pgqueue.integrations.fastapi") from error

from .._registry import get_broker
from ..broker import Broker
from ..brokers.postgres import PostgresBroker
from ..transactions import AsyncTarget, transaction
from ..transactions.target import adapt
from .health import check_health

__all__ = ["health_router", "joined", "lifespan"]

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


def lifespan(inner: Lifespan | None = None, *, broker: Broker | None = None) -> Lifespan:
    """Return a lifespan for ``FastAPI(lifespan=lifespan())``: it looks at the queue, and closes its connections.

    A queue that can't be used at the start is logged, not raised: the application may have more to do, and the health
    check tells.

    Parameters:
      inner: The application's own lifespan, which begins later and ends earlier.
      broker: None for the process's.
    """

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[Any]:
        ours = broker or get_broker()
        await asyncio.to_thread(check_health, ours)
        try:
            if inner is None:
                yield
            else:
                async with inner(app) as state:
                    yield state
        finally:
            if isinstance(ours, PostgresBroker):
                await ours.close_async()

    return live


def joined(dependency: Callable[..., Any]) -> Callable[..., AsyncIterator[Any]]:
    """Return a dependency that gives what ``dependency`` gives, and has what is sent meanwhile join its transaction.

    ``Annotated[AsyncSession, Depends(joined(get_session))]``: messages are sent when that session commits, and never if
    it does not, whether the endpoint or ``get_session`` commits.

    Parameters:
      dependency: Gives what :func:`pgqueue.transaction` takes: a session or connection, sync or async. With an async
        one, send with ``send_async``.
    """

    async def join(target: Any = Depends(dependency)) -> AsyncIterator[Any]:  # noqa: B008  # as FastAPI has it
        if isinstance(adapt(target), AsyncTarget):
            async with transaction(target):
                yield target
        else:
            with transaction(target):
                yield target

    return join


def health_router(
    path: str = "/health/queue", *, broker: Broker | None = None, least_workers: int = 0
) -> APIRouter:
    """Return a router with a health check: ``app.include_router(health_router())``.

    It answers 200, or 503 if the database can't be reached, its schema is not the one that this release needs, or
    there are fewer workers than asked for.

    Parameters:
      broker: None for the process's.
      least_workers: With fewer worker processes alive it is not ok.
    """
    router = APIRouter()

    # Not a coroutine: FastAPI runs it in a thread, for it waits for the server.
    @router.get(path, tags=["health"], summary="Whether the queue can be used")
    def health() -> JSONResponse:
        found = check_health(broker or get_broker(), least_workers=least_workers)
        return JSONResponse(found.asdict(), status_code=found.status_code)

    return router
