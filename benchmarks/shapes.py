"""Many queues, many priorities, many delayed messages."""

from __future__ import annotations

import time
from functools import partial

from .app import make_broker
from .drain import drain_rate
from .figures import Figure, Line, Plot, Report, interleaved, percentile
from .server import Bench, fresh_schema
from .workers import Workers

__all__ = ["measure"]

#: Over how many seconds the delayed messages come due, and with ``--full``.
DUE_OVER_S, FULL_DUE_OVER_S = 4.0, 60.0

#: Delayed messages a second that any machine can send before the first of them is due.
SENT = 8_000


def measure(bench: Bench) -> Report:
    """Drains of 200 queues and of 20 priorities against one of each; then how late delayed messages start."""
    report = Report()
    messages = bench.count(30_000, least=1_000)
    plots = []
    for queues, priorities in ((50, 1), (200, 1), (1, 5), (1, 20)):
        spread = partial(drain_rate, bench, messages=messages, queues=queues, priorities=priorities)
        single = partial(drain_rate, bench, messages=messages)
        rate, base, ratio = interleaved(max(1, bench.rounds - 1), spread, single)
        name, size = ("queues", queues) if queues > 1 else ("priorities", priorities)
        what = f"drain of {size} {name}"
        report.figures.append(
            Figure(f"drain.{name}.{size}", what, rate, "1/s", base, "one queue, one priority", ratio=ratio)
        )
        plots.append((name, float(size), ratio))
    lines = [
        Line(kind, [(1.0, 1.0), *((size, ratio) for name, size, ratio in plots if name == kind)])
        for kind in ("queues", "priorities")
    ]
    report.plots.append(
        Plot("Drain by lanes", "queues or priorities", "rate, 1 is that of one", lines, log_x=True)
    )
    _delayed(bench, report)
    return report


def _delayed(bench: Bench, report: Report) -> None:
    number = bench.large(10_000, 1_000_000, least=200)
    over_s = FULL_DUE_OVER_S if bench.full else DUE_OVER_S
    with fresh_schema(bench.url) as schema, Workers(bench.url, schema) as workers:
        workers.go()
        broker = make_broker(bench.url, schema, results=False)
        timed = broker.get_actor("timed")
        first_ms = (time.time() + 2.0 + number / SENT) * 1000
        clock = time.monotonic() - time.time()
        for start in range(0, number, 1_000):
            etas = [first_ms + over_s * 1000 * n / number for n in range(start, min(start + 1_000, number))]
            broker.enqueue_many(
                timed.message_with_options(args=(eta / 1000 + clock,), eta=eta) for eta in etas
            )
        time.sleep(max(0.0, first_ms / 1000 - time.time()) + over_s)
        broker.join("default", timeout=600_000)
        broker.close()
        late = [(began - due) * 1000 for due, began, _ in workers.stop()]
    if min(late) < 0:
        raise RuntimeError(f"a delayed message began {-min(late):.1f} ms early")
    for percent in (50, 99):
        report.figures.append(
            Figure(
                f"delayed.p{percent}",
                f"start after the eta, {number:,} due over {over_s:.0f} s, p{percent}",
                percentile(late, percent),
                "ms",
                1000.0,
                "looking once a second",
            )
        )
