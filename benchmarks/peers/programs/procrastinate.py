# /// script
# requires-python = ">=3.11"
# dependencies = ["procrastinate==3.10.0", "psycopg[binary]==3.3.9"]
#
# [tool.peer]
# title = "procrastinate"
# package = "procrastinate"
# service = "postgres"
# worker = [
#   "{bin}/procrastinate", "--app=benchmarks.peers.programs.procrastinate.app", "worker", "--concurrency=8",
# ]
# slots = 16
# share = 0.2
# settings = """coroutines, concurrency 8; stalled jobs retried by a periodic task each minute, \
#   as its documentation shows"""
# durability = "sends and acks are commits, fsync on"
# ///
"""procrastinate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url

app = App(connector=PsycopgConnector(conninfo=url()))


@app.task
async def nothing(number: int) -> None:
    """Write into the ledger."""
    ledger.done(number)


@app.task
async def slow(number: int) -> None:
    """Sleep."""
    ledger.begun(number)
    await asyncio.sleep(SLOW_S)
    ledger.done(number)


@app.periodic(cron="* * * * *")
@app.task(queueing_lock="rescue")
async def rescue(timestamp: int) -> None:  # noqa: ARG001
    """Retry what workers left behind that no longer tell that they live."""
    for job in await app.job_manager.get_stalled_jobs():
        await app.job_manager.retry_job(job)


class _Program(Program):
    async def prepare(self) -> None:
        async with app.open_async():
            await app.schema_manager.apply_schema_async()

    async def open(self) -> None:
        await app.open_async()

    async def close(self) -> None:
        await app.close_async()

    async def send(self, number: int) -> None:
        await nothing.defer_async(number=number)

    async def send_slow(self, number: int) -> None:
        await slow.defer_async(number=number)

    async def send_many(self, numbers: Sequence[int]) -> None:
        await nothing.batch_defer_async(*({"number": number} for number in numbers))


PROGRAM = _Program()
