"""What the framework itself costs: no-op messages on the stub broker, with the default middleware.

    python benchmarks/stub_overhead.py [--messages N] [--threads T] [--runs R] [--json]

Enqueues all messages, then starts a worker and waits until the queue is empty. The time a message is the whole way
from its encoded bytes to its acknowledgement; there is no server, so all of it is pgqueue's (and Python's). On a
machine that has something else to do, look at the processor time instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass

from pgqueue.actor import actor
from pgqueue.brokers.stub import StubBroker
from pgqueue.worker import Worker


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the runs, in microseconds a message."""

    enqueue_us: float
    process_us: float
    process_cpu_us: float
    messages: int
    threads: int
    runs: int


def main() -> None:
    """Measure and print."""
    options = _parse_arguments()
    runs = [_measure(options.messages, options.threads) for _ in range(options.runs)]
    enqueue_us, process_us, process_cpu_us = (
        round(statistics.median(run), 2) for run in zip(*runs, strict=True)
    )
    figures = Figures(
        enqueue_us=enqueue_us,
        process_us=process_us,
        process_cpu_us=process_cpu_us,
        messages=options.messages,
        threads=options.threads,
        runs=options.runs,
    )
    print(json.dumps(asdict(figures)) if options.json else _sentence(figures))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the framework's overhead on the stub broker.")
    parser.add_argument("--messages", type=int, default=50_000, help="messages a run (50,000)")
    parser.add_argument("--threads", type=int, default=8, help="worker threads (8)")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median is taken (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def _measure(messages: int, threads: int) -> tuple[float, float, float]:
    """Return the microseconds a message of enqueueing, of processing, and of processor time in the latter."""
    broker = StubBroker()
    broker.emit_after("process_boot")

    @actor(broker=broker)
    def nothing() -> None:
        """Do nothing."""

    started = time.perf_counter()
    for _ in range(messages):
        nothing.send()
    enqueued, busy = time.perf_counter(), time.process_time()
    worker = Worker(broker, worker_threads=threads)
    worker.start()
    broker.join("default")
    spans = enqueued - started, time.perf_counter() - enqueued, time.process_time() - busy
    worker.stop()
    broker.close()
    enqueue_us, process_us, cpu_us = (span / messages * 1e6 for span in spans)
    return enqueue_us, process_us, cpu_us


def _sentence(figures: Figures) -> str:
    return (
        f"{figures.process_us:.1f} µs a message from bytes to acknowledgement "
        f"({figures.process_cpu_us:.1f} µs of processor time), "
        f"{figures.enqueue_us:.1f} µs to enqueue one "
        f"({figures.messages:,} messages, {figures.threads} threads, median of {figures.runs} runs)"
    )


if __name__ == "__main__":
    main()
