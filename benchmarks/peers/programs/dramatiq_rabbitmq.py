# /// script
# requires-python = ">=3.11"
# dependencies = ["dramatiq[rabbitmq]==2.2.1", "pika==1.4.4"]
#
# [tool.peer]
# title = "Dramatiq on RabbitMQ"
# package = "dramatiq"
# service = "rabbitmq"
# worker = ["{bin}/dramatiq", "benchmarks.peers.programs.dramatiq_rabbitmq", "-p", "1", "-t", "8"]
# slots = 16
# settings = "defaults, 8 threads a process"
# durability = "durable queues and persistent messages, sent without waiting for a confirmation (the default)"
# ///
"""Dramatiq with RabbitMQ."""

from __future__ import annotations

import time

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.peers import ledger
from benchmarks.peers.program import SLOW_S, Program, url

broker = RabbitmqBroker(url=url())
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
