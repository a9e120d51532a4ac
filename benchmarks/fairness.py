"""How soon a turn comes beside others: urgent messages, a quiet queue beside a flood, short jobs beside long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from pgqueue.brokers.postgres import PostgresBroker

from .app import make_broker
from .ending import end_group
from .figures import Figure, Report, Target, at_most, percentile
from .server import SCHEMA, Bench, fresh_schema
from .workers import HOME, Workers

__all__ = ["measure"]

#: Seconds between two messages whose wait is measured.
PAUSE_S = 0.02

#: How many of them there are, and how many messages of a millisecond wait or come beside.
SAMPLES, BACKLOG = 200, 30_000

#: So many batches of a flood have been sent before anything is measured: more than is run meanwhile.
AHEAD = 10

#: Of eight threads, so many are kept busy by jobs of ten seconds.
LONG, LONG_MS = 4, 10_000


def measure(bench: Bench) -> Report:
    """Each beside the same messages with nothing else to do."""
    report = Report()
    figures = report.figures
    alone = _waits(bench, "timed")
    urgent = _waits(bench, "timed", backlog=bench.count(BACKLOG), priority=-10)
    quiet = _waits(bench, "quiet")
    flooded = _waits(bench, "quiet", flood="here")
    elsewhere = _waits(bench, "quiet", flood="elsewhere")
    beside_long = _waits(bench, "timed", long_jobs=LONG)
    for percent in (50, 99):
        last = percent == 99
        figures += [
            _figure(
                f"fairness.urgent.p{percent}", f"send to start of urgent messages that overtake a backlog, p{percent}",
                urgent, alone, percent, at_most(100.0, 20.0) if last else Target(),
            ),
            _figure(
                f"fairness.flood.p{percent}", f"send to start in a quiet queue beside a flood in another, p{percent}",
                flooded, quiet, percent, Target(2.0, 1.2, more_is_better=False) if last else Target(),
            ),
            Figure(
                f"fairness.elsewhere.p{percent}",
                f"the same, against a flood that other workers run in another schema, p{percent}",
                percentile(flooded, percent), "ms", percentile(elsewhere, percent), f"flood elsewhere, p{percent}",
            ),
            _figure(
                f"fairness.long.p{percent}", f"send to start of short jobs beside {LONG} of ten seconds, p{percent}",
                beside_long, alone, percent, at_most(20.0, 10.0) if last else Target(),
            ),
        ]  # fmt: skip
    return report


def _figure(
    name: str, what: str, waits: list[float], alone: list[float], percent: int, target: Target
) -> Figure:
    return Figure(
        name, what, percentile(waits, percent), "ms", percentile(alone, percent), f"nothing else to do, p{percent}",
        target,
    )  # fmt: skip


def _waits(
    bench: Bench,
    actor_name: str,
    *,
    backlog: int = 0,
    flood: Literal["here", "elsewhere"] | None = None,
    long_jobs: int = 0,
    **options: Any,
) -> list[float]:
    """Milliseconds from send to start of one message after the other, on a process of eight threads."""
    with ExitStack() as stack:
        # The gate of the workers lets one fleet through at a time.
        elsewhere = stack.enter_context(_busy_elsewhere(bench)) if flood == "elsewhere" else None
        schema = stack.enter_context(fresh_schema(bench.url))
        workers = stack.enter_context(Workers(bench.url, schema, threads=bench.threads))
        broker = stack.enter_context(_broker(bench.url, schema))
        short, measured = broker.get_actor("short"), broker.get_actor(actor_name)
        short.send_many([(1.0,)] * backlog)
        short.send_many([(float(LONG_MS),)] * long_jobs)
        workers.go()
        measured.send_with_options(args=(0.0,), **options)
        time.sleep(1.0)  # everything is connected, and the worker asks once a second
        program = stack.enter_context(_flood(bench.url, elsewhere or schema)) if flood else None
        for _ in range(bench.count(SAMPLES)):
            measured.send_with_options(args=(time.monotonic(),), **options)
            time.sleep(PAUSE_S)
        if program is not None:
            goes_on(program)
        time.sleep(2.0)  # the last has begun
        broker.flush_all()
        stamps = workers.stop()
    waits = [(begin - stamp) * 1000 for stamp, begin, _ in stamps if stamp]
    if len(waits) != bench.count(SAMPLES):
        raise RuntimeError(
            f"only {len(waits)} of {bench.count(SAMPLES)} messages had begun after two seconds"
        )
    return waits


@contextmanager
def _broker(url: str, schema: str) -> Iterator[PostgresBroker]:
    broker = make_broker(url, schema, results=False)
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def _busy_elsewhere(bench: Bench) -> Iterator[str]:
    """Workers of their own in a schema of their own, whose name this is."""
    with (
        fresh_schema(bench.url, f"{SCHEMA}_elsewhere") as schema,
        Workers(bench.url, schema, threads=bench.threads) as workers,
    ):
        workers.go()
        yield schema
        with _broker(bench.url, schema) as broker:
            broker.flush_all()
        workers.stop()


def goes_on(program: subprocess.Popen[bytes]) -> None:
    """Refuse what was measured beside a flood that did not last as long.

    Raises:
      RuntimeError: It has ended.
    """
    if program.poll() is not None:
        raise RuntimeError(
            f"the flood ended with exit code {program.returncode} before the last message was sent; see BATCHES in"
            " flood.py"
        )


@contextmanager
def _flood(url: str, schema: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have another program send more than can be run; it goes on until this is left, for ten seconds at most."""
    program = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.flood", url, schema],
        env={**os.environ, "PYTHONPATH": str(HOME)}, cwd=HOME, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert program.stdout is not None
        for _ in range(AHEAD):
            if not program.stdout.readline():
                raise RuntimeError(f"the flood ended with exit code {program.wait()}")
        yield program
    finally:
        end_group(program)
