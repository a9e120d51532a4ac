# /// script
# requires-python = ">=3.11"
# dependencies = ["dramatiq[redis]==2.2.1", "redis==8.1.0"]
#
# [tool.peer]
# title = "Dramatiq on Redis"
# package = "dramatiq"
# service = "redis"
# worker = ["{bin}/dramatiq", "benchmarks.peers.programs.dramatiq_redis", "-p", "1", "-t", "8"]
# slots = 16
# settings = "defaults, 8 threads a process"
# durability = "append-only file, flushed once a second: a crash of the server loses up to a second"
# ///
"""Dramatiq with Redis."""

from __future__ import annotations

import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url

broker = RedisBroker(url=url())
dramatiq.set_broker(broker)


@dramatiq.actor
def nothing(number: int) -> None:
    """Write into the ledger."""
    ledger.done(number)


@dramatiq.actor
def slow(number: int) -> None:
    """Sleep."""
    ledger.begun(number)
    time.sleep(SLOW_S)
    ledger.done(number)


class _Program(Program):
    async def close(self) -> None:
        broker.close()

    async def send(self, number: int) -> None:
        nothing.send(number)

    async def send_slow(self, number: int) -> None:
        slow.send(number)


PROGRAM = _Program()
