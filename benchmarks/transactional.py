"""What it costs to run an actor inside the transaction of its acknowledgement."""

from __future__ import annotations

from functools import partial

from .drain import drain_rate
from .figures import Figure, Report, interleaved
from .server import Bench

__all__ = ["measure"]

#: The actor, what it is, how many messages of it, and the actor it is compared with.
CASES = (
    ("untouched", "transactional, asks for nothing", 20_000, "nothing", "plain no-op actor"),
    ("begun", "transactional, begins and writes nothing", 6_000, "nothing", "plain no-op actor"),
    ("write_with_ack", "transactional, inserts a row", 6_000, "write_before_ack", "plain, inserts before its ack"),
)  # fmt: skip


def measure(bench: Bench) -> Report:
    """With one process, against plain actors that do the same."""
    report = Report()
    for actor, what, messages, other, against in CASES:
        rate, base, ratio = interleaved(
            bench.rounds,
            partial(drain_rate, bench, messages=bench.count(messages), actor=actor),
            partial(drain_rate, bench, messages=bench.count(messages), actor=other),
        )
        name = f"transactional.{actor}"
        report.figures.append(Figure(name, f"drain, {what}", rate, "1/s", base, against, ratio=ratio))
    return report
