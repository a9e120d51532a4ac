# /// script
# requires-python = ">=3.11"
# dependencies = ["celery[redis]==5.7.0", "redis<8.2"]
#
# [tool.peer]
# title = "Celery on Redis"
# package = "celery"
# service = "redis"
# worker = [
#   "{bin}/celery", "-A", "benchmarks.peers.programs.celery_redis", "worker",
#   "-c", "1", "-n", "{worker}@%h", "-l", "WARNING",
# ]
# slots = 2
# settings = """prefork, one child a worker; prefetch multiplier 64, as its guide to optimizing says for short tasks, \
#   results ignored; acks late, so that a killed worker loses nothing"""
# durability = "append-only file, flushed once a second: a crash of the server loses up to a second"
# ///
"""Celery with Redis."""

from __future__ import annotations

import time

from celery import Celery

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url

app = Celery("benchmark", broker=url())
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)


@app.task
def nothing(number: int) -> None:
    """Write into the ledger."""
    ledger.done(number)


@app.task
def slow(number: int) -> None:
    """Sleep."""
    ledger.begun(number)
    time.sleep(SLOW_S)
    ledger.done(number)


class _Program(Program):
    async def close(self) -> None:
        app.close()

    async def send(self, number: int) -> None:
        nothing.delay(number)

    async def send_slow(self, number: int) -> None:
        slow.delay(number)


PROGRAM = _Program()
