"""What the framework itself costs: no-op messages on the stub broker with the default middleware, and its import.

There is no server: the time a message is the whole way from its encoded bytes to its acknowledgement, all of it ours
and Python's. The reference is what any such framework has to do: decode the bytes, hand the message to a thread.
"""

from __future__ import annotations

import json
import queue
import statistics
import subprocess
import sys
import threading
import time

import pgqueue
from pgqueue.brokers.stub import StubBroker

from .figures import Figure, Report, at_most, interleaved
from .floor import payload
from .server import Bench

__all__ = ["measure"]


def measure(bench: Bench) -> Report:
    """Both."""
    messages = bench.count(20_000)
    ours, base, ratio = interleaved(
        bench.rounds, lambda: _stub_us(messages, bench.threads), lambda: _bare_us(messages, bench.threads)
    )
    imports = [_import_ms("pgqueue") for _ in range(max(3, bench.rounds))]
    psycopg = [_import_ms("psycopg", before="") for _ in range(max(3, bench.rounds))]
    return Report(
        [
            Figure(
                "stub",
                "framework overhead on the stub broker",
                ours,
                "µs",
                base,
                f"json.loads and a queue.SimpleQueue to {bench.threads} threads",
                at_most(25.0, 12.0),
                ratio,
            ),
            Figure(
                "import",
                "import pgqueue beyond importing psycopg",
                statistics.median(imports),
                "ms",
                statistics.median(psycopg),
                "import psycopg",
                at_most(100.0, 40.0),
            ),
        ]
    )


def _stub_us(messages: int, threads: int) -> float:
    broker = StubBroker()
    broker.emit_after("process_boot")
    nothing = pgqueue.actor(broker=broker, actor_name="nothing")(_nothing)
    for _ in range(messages):
        nothing.send()
    worker = pgqueue.Worker(broker, worker_threads=threads)
    began = time.perf_counter()
    worker.start()
    broker.join("default")
    spent = (time.perf_counter() - began) / messages * 1e6
    worker.stop()
    broker.close()
    return spent


def _nothing() -> None:
    pass


def _bare_us(messages: int, threads: int) -> float:
    payloads = [payload() for _ in range(messages)]
    items: queue.SimpleQueue[dict[str, object] | None] = queue.SimpleQueue()

    def work() -> None:
        while (message := items.get()) is not None:
            _nothing(*message["args"][1:])  # type: ignore[index]

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for thread in pool:
        thread.start()
    began = time.perf_counter()
    for data in payloads:
        items.put(json.loads(data))
    for _ in pool:
        items.put(None)
    for thread in pool:
        thread.join()
    return (time.perf_counter() - began) / messages * 1e6


def _import_ms(module: str, *, before: str = ", psycopg") -> float:
    source = f"import time{before}; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"
    outcome = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return float(outcome.stdout) * 1000
