# /// script
# requires-python = ">=3.11"
# dependencies = []  # it is measured as it is here, in the environment that runs the benchmark
#
# [tool.peer]
# title = "pgqueue"
# package = "pgqueue-engine"
# service = "postgres"
# worker = ["{python}", "-m", "pgqueue", "benchmarks.peers.programs.pgqueue", "-p", "1", "-t", "8"]
# slots = 16
# settings = "defaults, 8 threads a process; msgspec where it is installed (extra fast)"
# durability = "sends and acks are commits, fsync on"
# ///
"""pgqueue itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pgqueue
from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url
from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker

broker = PostgresBroker(url())
pgqueue.set_broker(broker)


@pgqueue.actor
def nothing(number: int) -> None:
    """Write into the ledger."""
    ledger.done(number)


@pgqueue.actor
def slow(number: int) -> None:
    """Sleep."""
    ledger.begun(number)
    time.sleep(SLOW_S)
    ledger.done(number)


class _Program(Program):
    async def prepare(self) -> None:
        schema.upgrade(url())

    async def close(self) -> None:
        broker.close()

    async def send(self, number: int) -> None:
        nothing.send(number)

    async def send_slow(self, number: int) -> None:
        slow.send(number)

    async def send_many(self, numbers: Sequence[int]) -> None:
        nothing.send_many([(number,) for number in numbers])


PROGRAM = _Program()
