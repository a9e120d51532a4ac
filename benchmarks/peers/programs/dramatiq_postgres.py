# /// script
# requires-python = ">=3.11"
# dependencies = ["dramatiq-postgres==1.4.0", "psycopg[binary]==3.3.9"]
#
# [tool.peer]
# title = "dramatiq-postgres"
# package = "dramatiq-postgres"
# service = "postgres"
# worker = ["{bin}/dramatiq", "benchmarks.peers.programs.dramatiq_postgres", "-p", "1", "-t", "8"]
# slots = 16
# share = 0.1
# settings = "defaults, 8 threads a process"
# durability = "sends and acks are commits, fsync on"
# ///
"""dramatiq-postgres: Dramatiq with a broker on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import dramatiq
from dramatiq_postgres import PostgresBroker

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url

broker = PostgresBroker(url=url())
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
    async def prepare(self) -> None:
        command = Path(sys.executable).with_name("dramatiq-postgres")
        subprocess.run([command, "--dsn", url(), "init"], check=True)  # noqa: ASYNC221

    async def close(self) -> None:
        broker.close()

    async def send(self, number: int) -> None:
        nothing.send(number)

    async def send_slow(self, number: int) -> None:
        slow.send(number)


PROGRAM = _Program()
