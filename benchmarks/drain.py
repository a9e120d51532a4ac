"""How fast worker processes drain a full queue."""

from __future__ import annotations

import statistics
from functools import partial

import psycopg

from . import floor
from .app import make_broker
from .figures import Figure, Line, Plot, Report, Target, interleaved
from .server import Bench, fresh_schema
from .workers import Workers, wait_until_done

__all__ = ["drain_rate", "fill", "measure"]

#: Messages sent by one call while the queue is filled.
SEND = 5_000

HALF = Target(reach=0.5, aim=0.8)


def measure(bench: Bench) -> Report:
    """With one and two processes, without and with results."""
    messages = bench.count(60_000)
    report = Report()
    bars: dict[str, list[tuple[float, float]]] = {"pgqueue": [], "floor": []}
    for processes in (1, 2):
        plain = partial(drain_rate, bench, messages=messages, processes=processes)
        rate, base, ratio = interleaved(
            bench.rounds, plain, partial(floor.take_rate, bench.url, messages=messages, connections=processes)
        )
        name = f"{processes} process{'es' if processes > 1 else ''} x {bench.threads} threads"
        against = f"bare DELETE … SKIP LOCKED loop, {processes} connection{'s' if processes > 1 else ''}"
        report.figures.append(
            Figure(
                f"drain.{processes}", f"drain, no-op actor, {name}", rate, "1/s", base, against, HALF, ratio
            )
        )
        bars["pgqueue"].append((processes, rate))
        bars["floor"].append((processes, base))
        stored, without, ratio = interleaved(
            bench.rounds,
            partial(drain_rate, bench, messages=messages, processes=processes, results=True),
            plain,
        )
        report.figures.append(
            Figure(
                f"drain.{processes}.results",
                f"the same with results stored, {name}",
                stored,
                "1/s",
                without,
                "drain without results",
                Target(reach=0.75, aim=0.85),
                ratio,
            )
        )
    lines = [Line(name, points) for name, points in bars.items()]
    report.plots.append(Plot("Drain by processes", "processes", "messages a second", lines))
    return report


def drain_rate(
    bench: Bench,
    *,
    messages: int,
    processes: int = 1,
    results: bool = False,
    queues: int = 1,
    priorities: int = 1,
    actor: str = "nothing",
) -> float:
    """Messages a second, from the word to begin until the last outcome is committed.

    Parameters:
      actor: What runs, from the first queue at least.
    """
    with fresh_schema(bench.url) as schema, psycopg.connect(bench.url, autocommit=True) as conn:
        conn.execute(f'CREATE TABLE "{schema}".bench_effects (number integer)')
        fill(bench, schema, messages=messages, queues=queues, priorities=priorities, actor=actor)
        with Workers(
            bench.url, schema, processes=processes, threads=bench.threads, results=results, queues=queues
        ) as workers:
            began = _now(conn)
            workers.go()
            ended = wait_until_done(conn, schema, messages)
            workers.stop()
        return messages / (ended - began)


def fill(
    bench: Bench, schema: str, *, messages: int, queues: int = 1, priorities: int = 1, actor: str = "nothing"
) -> float:
    """Send no-op messages, spread over queues and priorities; return how many a second, by the median of the calls."""
    broker = make_broker(bench.url, schema, results=False, queues=queues)
    names = [actor, *(f"nothing_{number}" for number in range(1, queues))]
    actors = [broker.get_actor(name) for name in names]
    rates = []
    with psycopg.connect(bench.url, autocommit=True) as conn:
        for start in range(0, messages, SEND):
            numbers = range(start, min(start + SEND, messages))
            batch = [
                actors[n % queues].message_with_options(args=(n,), priority=n // queues % priorities)
                if priorities > 1
                else actors[n % queues].message(n)
                for n in numbers
            ]
            began = _now(conn)
            broker.enqueue_many(batch)
            rates.append(len(batch) / (_now(conn) - began))
    broker.close()
    return statistics.median(rates)


def _now(conn: psycopg.Connection[tuple[float, ...]]) -> float:
    row = conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    return row[0] if row else 0.0
