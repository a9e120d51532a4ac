"""What the harness asks a queue's program to do, in the queue's own environment.

    python -m benchmarks.peers.run NAME prepare
    python -m benchmarks.peers.run NAME send FIRST COUNT      # one by one
    python -m benchmarks.peers.run NAME many FIRST COUNT      # by thousands
    python -m benchmarks.peers.run NAME paced FIRST COUNT     # one by one, with pauses
    python -m benchmarks.peers.run NAME slow FIRST COUNT      # tasks that sleep
    python -m benchmarks.peers.run NAME work                  # for queues without a command line of their own

Each prints one line of JSON: how many seconds the sending took, and for ``paced`` when each message was committed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

__all__ = ["MANY", "SLOW_S", "Program", "main", "url"]

#: Messages in one call where the queue can send many at once.
MANY = 1_000

#: Seconds for which a slow task sleeps.
SLOW_S = 3.0

#: Seconds between two messages of ``paced``, by chance within these.
PAUSE_S = (0.01, 0.04)


def url() -> str:
    """Where the queue's server is."""
    return os.environ["BENCH_PEER_URL"]


class Program(ABC):
    """A queue's side of the harness. Everything is asynchronous so that queues that are can be measured as they are."""

    async def prepare(self) -> None:  # noqa: B027  # most servers without tables have nothing to prepare
        """Set up the queue's tables."""

    async def open(self) -> None:  # noqa: B027
        """Connect as a producer."""

    async def close(self) -> None:  # noqa: B027
        """Disconnect."""

    @abstractmethod
    async def send(self, number: int) -> None:
        """Send one no-op message, committed when this returns."""

    @abstractmethod
    async def send_slow(self, number: int) -> None:
        """Send one message whose task sleeps."""

    async def send_many(self, numbers: Sequence[int]) -> None:
        """Send no-op messages at once, by the queue's own means."""
        raise NotImplementedError

    async def work(self) -> None:
        """Run a worker until SIGTERM."""
        raise NotImplementedError


def main(program: Program, words: Sequence[str]) -> None:
    """Do what the command line says."""
    act, *numbers = words
    answer = asyncio.run(_act(program, act, *map(int, numbers)))
    print(json.dumps(answer))


async def _act(program: Program, act: str, first: int = 0, count: int = 0) -> dict[str, object]:
    if act == "prepare":
        await program.prepare()
        return {}
    if act == "work":
        await program.work()
        return {}
    await program.open()
    try:
        return await _send(program, act, range(first, first + count))
    finally:
        await program.close()


async def _send(program: Program, act: str, numbers: range) -> dict[str, object]:
    if act == "paced":
        return {"sent": await _paced(program, numbers)}
    if act == "many":
        return {"seconds": await _many(program, numbers)}
    send = program.send_slow if act == "slow" else program.send
    await send(numbers[0])  # connected and prepared, this one is not counted
    began = time.monotonic()
    for number in numbers[1:]:
        await send(number)
    return {"seconds": time.monotonic() - began}


async def _many(program: Program, numbers: range) -> float:
    began = time.monotonic()
    for start in range(0, len(numbers), MANY):
        await program.send_many(numbers[start : start + MANY])
    return time.monotonic() - began


async def _paced(program: Program, numbers: range) -> list[float]:
    sent = []
    for number in numbers:
        await asyncio.sleep(random.uniform(*PAUSE_S))
        await program.send(number)
        sent.append(time.monotonic())
    return sent
