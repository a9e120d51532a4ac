# /// script
# requires-python = ">=3.11"
# dependencies = ["pgqueuer[asyncpg]==1.6.0", "asyncpg==0.32.0", "typer==0.16.0"]  # newer typers break its command line
#
# [tool.peer]
# title = "pgqueuer"
# package = "pgqueuer"
# service = "postgres"
# worker = ["{bin}/pgq", "run", "benchmarks.peers.programs.pgqueuer:main", "--batch-size", "100"]
# slots = 16
# settings = "asyncpg, durable tables, batches of 100 (its default of 10 is slower)"
# durability = "sends and acks are commits, fsync on"
# ///
"""pgqueuer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url


@contextlib.asynccontextmanager
async def main() -> AsyncIterator[PgQueuer]:
    """Make a worker, for its command line."""
    queuer = PgQueuer(AsyncpgDriver(await asyncpg.connect(url())))

    @queuer.entrypoint("nothing")
    async def nothing(job: Job) -> None:
        ledger.done(int(job.payload))

    @queuer.entrypoint("slow")
    async def slow(job: Job) -> None:
        ledger.begun(int(job.payload))
        await asyncio.sleep(SLOW_S)
        ledger.done(int(job.payload))

    yield queuer


class _Program(Program):
    async def prepare(self) -> None:
        await self.open()
        await self._queries.install()
        await self.close()

    async def open(self) -> None:
        self._connection = await asyncpg.connect(url())
        self._queries = Queries(AsyncpgDriver(self._connection))

    async def close(self) -> None:
        await self._connection.close()

    async def send(self, number: int) -> None:
        await self._queries.enqueue("nothing", str(number).encode())

    async def send_slow(self, number: int) -> None:
        await self._queries.enqueue("slow", str(number).encode())

    async def send_many(self, numbers: Sequence[int]) -> None:
        payloads = [str(number).encode() for number in numbers]
        await self._queries.enqueue(["nothing"] * len(payloads), payloads, [0] * len(payloads))


PROGRAM = _Program()
