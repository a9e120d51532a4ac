"""How soon: from commit to start on an idle queue, from a result to who waits for it, and under steady load."""

from __future__ import annotations

import multiprocessing
import random
import statistics
import threading
import time
from multiprocessing.connection import Connection

import psycopg

from . import flat, floor
from .app import make_broker
from .figures import Figure, Line, Plot, Report, at_most, percentile
from .server import Bench, fresh_schema
from .workers import Stamp, Workers

__all__ = ["measure"]

#: Seconds of steady load at each level.
STEADY_S = 4.0


def measure(bench: Bench) -> Report:
    """Idle first, then under load."""
    report = Report()
    bare = _bare_pickup(bench, bench.count(150))
    _idle(bench, report, bare)
    _steady(bench, report, percentile(bare, 50))
    return report


def _idle(bench: Bench, report: Report, bare: list[float]) -> None:
    with fresh_schema(bench.url) as schema, Workers(bench.url, schema, results=True) as workers:
        workers.go()
        broker = make_broker(bench.url, schema, results=True)
        timed, waits = broker.get_actor("timed"), []
        backend = broker.get_results_backend()
        timed.send(0.0)
        time.sleep(1.0)  # everything is connected, and the worker asks once a second
        sent: dict[float, float] = {}
        for _ in range(bench.count(150)):
            time.sleep(random.uniform(0.01, 0.04))
            began = time.monotonic()
            message = timed.send(began)
            sent[began] = time.monotonic()
            waits.append((began, message.get_result(backend=backend, block=True), time.monotonic()))
        broker.close()
        stamps = {stamp: (begin, end) for stamp, begin, end in workers.stop() if stamp}
    starts = [max(0.0, (stamps[began][0] - sent[began]) * 1000) for began in stamps]
    answers = [(back - stamps[began][1]) * 1000 for began, _, back in waits]
    against = "bare LISTEN, then DELETE … RETURNING"
    for percent, reach, aim in ((50, 2.0, 0.8), (99, 10.0, 5.0)):
        report.figures.append(
            Figure(
                f"pickup.p{percent}",
                f"commit to start on an idle queue, p{percent}",
                percentile(starts, percent),
                "ms",
                percentile(bare, percent),
                against,
                at_most(reach, aim),
            )
        )
    report.figures.append(
        Figure(
            "awaited.p50",
            "result ready to get_result returns, p50",
            statistics.median(answers),
            "ms",
            percentile(bare, 50),
            against,
            at_most(3.0, 1.0),
        )
    )
    lines = [
        Line("pgqueue, to start", _curve(starts)),
        Line("bare LISTEN and DELETE", _curve(bare)),
        Line("pgqueue, result to get_result", _curve(answers)),
    ]
    report.plots.append(Plot("Latency on an idle queue", "percentile", "ms", lines))


def _curve(values: list[float]) -> list[tuple[float, float]]:
    return [(float(percent), percentile(values, percent)) for percent in range(100)]


def _bare_pickup(bench: Bench, samples: int) -> list[float]:
    """Milliseconds from an insert's commit, with NOTIFY, until another process has its row."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with floor.table(bench.url), psycopg.connect(bench.url, autocommit=True, prepare_threshold=0) as conn:
        taker = context.Process(target=_take_when_told, args=(bench.url, theirs, samples), daemon=True)
        taker.start()
        ours.recv()
        waits = []
        for _ in range(samples):
            time.sleep(random.uniform(0.01, 0.04))
            conn.execute(
                "WITH row AS (INSERT INTO pgqueue_floor (priority, payload) VALUES (0, %s) RETURNING id)"
                " SELECT pg_notify('pgqueue_floor', '') FROM row",
                (floor.payload(),),
            )
            sent = time.monotonic()
            waits.append(max(0.0, (ours.recv() - sent) * 1000))
        taker.join(30)
    return waits


def _take_when_told(url: str, pipe: Connection, samples: int) -> None:
    with psycopg.connect(url, autocommit=True, prepare_threshold=0) as conn:
        conn.execute("LISTEN pgqueue_floor")
        conn.execute(floor.TAKE, (1,), binary=True).fetchall()
        pipe.send(None)
        while samples:
            for _ in conn.notifies(stop_after=1):
                pass
            if conn.execute(floor.TAKE, (1,), binary=True).fetchall():
                pipe.send(time.monotonic())
                samples -= 1


def _steady(bench: Bench, report: Report, idle_ms: float) -> None:
    # Not of the drain alone: here the messages are sent by the same machine.
    full = flat.through(bench, bench.count(30_000))
    lines: dict[int, list[tuple[float, float]]] = {50: [], 95: [], 99: []}
    for percent in (10, 50, 90):
        waits = _waits_at(bench, full * percent / 100)
        for part, points in lines.items():
            points.append((float(percent), percentile(waits, part)))
            if percent in (50, 90):
                report.figures.append(
                    Figure(
                        f"steady.{percent}.p{part}",
                        f"send to start at {percent} % of the most that is sent and run, p{part}",
                        percentile(waits, part),
                        "ms",
                        idle_ms,
                        "bare pick-up on an idle queue, p50",
                    )
                )
    plots = [Line(f"p{part}", points) for part, points in lines.items()]
    report.plots.append(Plot("Latency under steady load", "% of what is sent and run at once", "ms", plots))


def _waits_at(bench: Bench, rate: float) -> list[float]:
    """Milliseconds from send to start, with messages sent at an even rate, a batch every ten milliseconds."""
    seconds = max(1.0, STEADY_S * min(1.0, bench.scale))
    with fresh_schema(bench.url) as schema, Workers(bench.url, schema) as workers:
        workers.go()
        broker = make_broker(bench.url, schema, results=False)
        producer = threading.Thread(target=_send_evenly, args=(broker, rate, seconds), daemon=True)
        producer.start()
        producer.join()
        broker.join("default", timeout=60_000)
        broker.close()
        stamps: list[Stamp] = workers.stop()
    # What comes while everything is connected tells of the start, not of the load.
    settled = [stamp for stamp in stamps if stamp[0] > stamps[0][0] + seconds / 4]
    return [(begin - stamp) * 1000 for stamp, begin, _ in settled]


def _send_evenly(broker: object, rate: float, seconds: float) -> None:
    timed = broker.get_actor("timed")  # type: ignore[attr-defined]
    began, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - began) < seconds:
        due = int(elapsed * rate) - sent
        if due:
            now = time.monotonic()
            timed.send_many([(now + number * 1e-9,) for number in range(due)])
            sent += due
        time.sleep(0.01)
