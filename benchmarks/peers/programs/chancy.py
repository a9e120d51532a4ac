# /// script
# requires-python = ">=3.11"
# dependencies = ["chancy[cli]==0.26.0", "psycopg[binary]==3.3.9"]
#
# [tool.peer]
# title = "chancy"
# package = "chancy"
# service = "postgres"
# worker = ["{bin}/chancy", "--app", "benchmarks.peers.programs.chancy.app", "worker", "start"]
# slots = 100
# settings = """coroutines (its executor for asyncio), concurrency 50 (with 8 it is six times slower), \
#   eager polling, default plugins"""
# durability = "sends and acks are commits, fsync on"
# ///
"""chancy."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chancy import Chancy, Queue, job

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url

app = Chancy(url())


@job(queue="default")
async def nothing(*, number: int) -> None:
    """Write into the ledger."""
    ledger.done(number)


@job(queue="default")
async def slow(*, number: int) -> None:
    """Sleep."""
    ledger.begun(number)
    await asyncio.sleep(SLOW_S)
    ledger.done(number)


class _Program(Program):
    async def prepare(self) -> None:
        async with Chancy(url()) as chancy:
            await chancy.migrate()
            await chancy.declare(
                Queue("default", concurrency=50, executor=Chancy.Executor.Async, eager_polling=True)
            )

    async def open(self) -> None:
        self._chancy = Chancy(url())
        await self._chancy.__aenter__()

    async def close(self) -> None:
        await self._chancy.__aexit__(None, None, None)

    async def send(self, number: int) -> None:
        await self._chancy.push(nothing.job.with_kwargs(number=number))

    async def send_slow(self, number: int) -> None:
        await self._chancy.push(slow.job.with_kwargs(number=number))

    async def send_many(self, numbers: Sequence[int]) -> None:
        jobs = [nothing.job.with_kwargs(number=number) for number in numbers]
        async for _ in self._chancy.push_many(jobs):
            pass


PROGRAM = _Program()
