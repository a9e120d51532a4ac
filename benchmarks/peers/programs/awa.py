# /// script
# requires-python = ">=3.11"
# dependencies = ["awa-pg==0.6.9"]
#
# [tool.peer]
# title = "awa"
# package = "awa-pg"
# service = "postgres"
# worker = ["{python}", "-m", "benchmarks.peers.run", "awa", "work"]
# slots = 256
# settings = "coroutines on its Rust runtime, 128 jobs at a time a process; bulk by enqueue_many_copy"
# durability = "sends and acks are commits, fsync on"
# ///
"""awa."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from awa import AsyncClient

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url


@dataclass
class Nothing:
    """Arguments of a no-op job."""

    number: int


@dataclass
class Slow:
    """Arguments of a job that sleeps."""

    number: int


class _Program(Program):
    async def prepare(self) -> None:
        client = AsyncClient(url())
        await client.migrate()
        # The first worker decides for the storage of its current release; bulk sends before that are refused.
        self._add_tasks(client)
        await client.start([("default", 1)])
        await client.shutdown()

    async def open(self) -> None:
        self._client = AsyncClient(url())

    async def close(self) -> None:
        await self._client.close()

    async def send(self, number: int) -> None:
        await self._client.insert(Nothing(number))

    async def send_slow(self, number: int) -> None:
        await self._client.insert(Slow(number))

    async def send_many(self, numbers: Sequence[int]) -> None:
        await self._client.enqueue_many_copy([Nothing(number) for number in numbers])

    async def work(self) -> None:
        client = AsyncClient(url())
        self._add_tasks(client)
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await client.start([("default", 128)])
        await stopped.wait()
        await client.shutdown()

    def _add_tasks(self, client: AsyncClient) -> None:
        @client.task(Nothing)
        async def nothing(job: Any) -> None:
            ledger.done(job.args.number)

        @client.task(Slow)
        async def slow(job: Any) -> None:
            ledger.begun(job.args.number)
            await asyncio.sleep(SLOW_S)
            ledger.done(job.args.number)


PROGRAM = _Program()
