"""One round of one measurement, printed as JSON: ``python -m benchmarks.once drain.2 --url … --scale 1``.

It runs on whichever pgqueue comes first on the path, and so uses only what any release has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import pgqueue

from .app import make_broker
from .drain import drain_rate
from .server import Bench, fresh_schema
from .workers import Workers

__all__ = ["ROUNDS"]


def _send_rate(bench: Bench) -> float:
    with fresh_schema(bench.url) as schema:
        broker = make_broker(bench.url, schema, results=False)
        nothing = broker.get_actor("nothing")
        for _ in range(6):
            nothing.send(1)  # connected and prepared
        number = bench.count(2_000)
        began = time.monotonic()
        for _ in range(number):
            nothing.send(1)
        rate = number / (time.monotonic() - began)
        broker.close()
    return rate


def _send_many_rate(bench: Bench) -> float:
    with fresh_schema(bench.url) as schema:
        broker = make_broker(bench.url, schema, results=False)
        many = [broker.get_actor("nothing").message(1) for _ in range(1_000)]
        calls = bench.count(20, least=3)
        rates = []
        for _ in range(calls + 1):
            began = time.monotonic()
            broker.enqueue_many([message.copy(message_id=f"{number}") for number, message in enumerate(many)])
            rates.append(len(many) / (time.monotonic() - began))
        broker.close()
    return statistics.median(rates[1:])


def _pickup_ms(bench: Bench) -> float:
    with fresh_schema(bench.url) as schema, Workers(bench.url, schema) as workers:
        workers.go()
        broker = make_broker(bench.url, schema, results=False)
        timed, sent = broker.get_actor("timed"), {}
        timed.send(0.0)
        time.sleep(1.0)  # everything is connected, and the worker asks once a second
        for _ in range(bench.count(100)):
            time.sleep(0.02)
            began = time.monotonic()
            timed.send(began)
            sent[began] = time.monotonic()
        broker.join("default", timeout=60_000)
        broker.close()
        begun = {stamp: begin for stamp, begin, _ in workers.stop()}
    return statistics.median((begun[stamp] - done) * 1000 for stamp, done in sent.items())


def _drain(bench: Bench, *, processes: int, results: bool = False) -> float:
    return drain_rate(bench, messages=bench.count(60_000), processes=processes, results=results)


#: What is measured, with its unit, by its name.
ROUNDS: dict[str, tuple[str, str, Callable[[Bench], float]]] = {
    "drain.1": ("drain, no-op actor, 1 process", "1/s", partial(_drain, processes=1)),
    "drain.2": ("drain, no-op actor, 2 processes", "1/s", partial(_drain, processes=2)),
    "drain.2.results": (
        "the same with results stored",
        "1/s",
        partial(_drain, processes=2, results=True),
    ),
    "send": ("send() one by one", "1/s", _send_rate),
    "send_many": ("1,000 messages in one call", "1/s", _send_many_rate),
    "pickup": ("end of send() to start, idle queue, p50", "ms", _pickup_ms),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.once")
    parser.add_argument("name", choices=ROUNDS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=8)
    asked = parser.parse_args()
    found = ROUNDS[asked.name][2](Bench(asked.url, scale=asked.scale, threads=asked.threads))
    json.dump({"value": found, "pgqueue": pgqueue.__file__}, sys.stdout)
