# /// script
# requires-python = ">=3.12"
# dependencies = ["oban==0.7.0", "psycopg[binary]==3.3.9"]
#
# [tool.peer]
# title = "Oban (Python)"
# package = "oban"
# service = "postgres"
# worker = ["{bin}/oban", "start", "--dsn", "{url}", "--queues", "default:50", "--log-level", "warning"]
# slots = 100
# settings = """coroutines, 50 jobs at a time (its example's 10 are three times slower); \
#   without the paid Pro, which acks and inserts in bulk"""
# durability = "sends and acks are commits, fsync on"
# ///
"""Oban for Python, its free part."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oban import Oban, worker

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url


@worker(queue="default")
class Nothing:
    """Writes into the ledger."""

    async def process(self, job: Any) -> None:
        """Run."""
        ledger.done(job.args["number"])


@worker(queue="default")
class Slow:
    """Sleeps."""

    async def process(self, job: Any) -> None:
        """Run."""
        ledger.begun(job.args["number"])
        await asyncio.sleep(SLOW_S)
        ledger.done(job.args["number"])


def _new(kind: Any, number: int) -> Any:
    return kind.new({"number": number})  # the decorator's


class _Program(Program):
    async def prepare(self) -> None:
        command = Path(sys.executable).with_name("oban")
        subprocess.run([command, "install", "--dsn", url()], check=True)  # noqa: ASYNC221

    async def open(self) -> None:
        self._pool = await Oban.create_pool(url())
        self._oban = await Oban(pool=self._pool, queues={}, leadership=False).start()

    async def close(self) -> None:
        await self._oban.stop()
        await self._pool.close()

    async def send(self, number: int) -> None:
        await self._oban.enqueue(_new(Nothing, number))

    async def send_slow(self, number: int) -> None:
        await self._oban.enqueue(_new(Slow, number))

    async def send_many(self, numbers: Sequence[int]) -> None:
        await self._oban.enqueue_many([_new(Nothing, number) for number in numbers])


PROGRAM = _Program()
