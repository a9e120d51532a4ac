"""What importing costs: pgqueue, and pgqueue with its broker for PostgreSQL, against psycopg alone.

    python benchmarks/import_time.py [--runs R] [--json]

Each import is the first thing that a fresh interpreter does. The programs take turns, so that whatever else the
machine has to do meets all of them; the median of each counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass

PROGRAM = """
import time
began = time.perf_counter()
import {modules}
print((time.perf_counter() - began) * 1000)
"""

#: What is imported: the floor, what every program imports, and what those with a server do besides.
IMPORTS = ("psycopg", "pgqueue", "pgqueue, pgqueue.brokers.postgres")


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the runs, in milliseconds, and what they are beyond psycopg's."""

    psycopg_ms: float
    pgqueue_ms: float
    with_broker_ms: float
    pgqueue_beyond_ms: float
    with_broker_beyond_ms: float
    runs: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how long imports take.")
    parser.add_argument("--runs", type=int, default=15, help="runs of which the median is taken (15)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    figures = measure(options.runs)
    print(json.dumps(asdict(figures)) if options.json else _sentence(figures))


def measure(runs: int) -> Figures:
    """Let the programs take turns, after one turn that fills the caches."""
    times = [[_import_ms(modules) for modules in IMPORTS] for _ in range(runs + 1)][1:]
    psycopg_ms, pgqueue_ms, with_broker_ms = (
        statistics.median(column) for column in zip(*times, strict=True)
    )
    return Figures(
        psycopg_ms=round(psycopg_ms, 1),
        pgqueue_ms=round(pgqueue_ms, 1),
        with_broker_ms=round(with_broker_ms, 1),
        pgqueue_beyond_ms=round(pgqueue_ms - psycopg_ms, 1),
        with_broker_beyond_ms=round(with_broker_ms - psycopg_ms, 1),
        runs=runs,
    )


def _import_ms(modules: str) -> float:
    program = PROGRAM.format(modules=modules)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _sentence(figures: Figures) -> str:
    return (
        f"import psycopg {figures.psycopg_ms} ms; import pgqueue {figures.pgqueue_ms} ms "
        f"({figures.pgqueue_beyond_ms:+} ms); with its broker for PostgreSQL {figures.with_broker_ms} ms "
        f"({figures.with_broker_beyond_ms:+} ms); medians of {figures.runs} runs"
    )


if __name__ == "__main__":
    main()
