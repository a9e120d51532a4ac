"""Measure pgqueue on the bundled server or another; print a table, write JSON and a page with plots."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
from rich.console import Console

from pgqueue import __version__
from pgqueue.errors import MissingExtra

from . import (
    against,
    cost,
    dashboard,
    drain,
    enqueue,
    fairness,
    flat,
    floor,
    latency,
    overhead,
    page,
    shapes,
    table,
    transactional,
)
from .ending import stopped_by_signals
from .figures import Report
from .releases import NoRelease
from .server import Bench, server

__all__ = ["MEASUREMENTS", "add_arguments", "run", "setting"]

#: Every measurement by its name, in the order in which they run.
MEASUREMENTS: dict[str, Callable[[Bench], Report]] = {
    "overhead": overhead.measure,
    "drain": drain.measure,
    "transactional": transactional.measure,
    "enqueue": enqueue.measure,
    "latency": latency.measure,
    "fairness": fairness.measure,
    "flat": flat.measure,
    "shapes": shapes.measure,
    "cost": cost.measure,
    "dashboard": dashboard.measure,
    "against": against.measure,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "only", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(MEASUREMENTS)} (all)"
    )
    parser.add_argument("--url", help="a server to measure on; by default the bundled one, fully durable")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=setting,
        metavar="NAME=VALUE",
        help="a setting of the bundled server, synchronous_commit=off for example; may be given several times",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds, of which the median counts (%(default)s)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor of all numbers of messages (%(default)s)"
    )
    parser.add_argument("--backlog", type=int, default=100_000, help="messages of the backlog (%(default)s)")
    parser.add_argument(
        "--full",
        action="store_true",
        help="as large as in the targets: a backlog of 5,000,000, 1,000,000 messages under held snapshots,"
        " 1,000,000 delayed ones due over a minute; takes the better part of an hour",
    )
    parser.add_argument(
        "--against",
        metavar="RELEASE",
        help="an earlier release to measure beside this one: a tag, a commit or a wheel (the newest tag)",
    )
    parser.add_argument("--threads", type=int, default=8, help="threads of a worker process (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON in the place of the table")
    parser.add_argument(
        "--page",
        type=Path,
        default=Path("benchmarks/report.html"),
        help="where to write the page (%(default)s)",
    )
    parser.add_argument("--no-page", action="store_true", help="write no page")


def run(arguments: argparse.Namespace) -> int:
    """Measure and show; return the exit code."""
    unknown = [name for name in arguments.only if name not in MEASUREMENTS]
    if unknown:
        print(f"There is no measurement {unknown[0]!r}: expected {', '.join(MEASUREMENTS)}.", file=sys.stderr)
        return 2
    try:
        report, about = _measured(arguments)
    except (NoRelease, MissingExtra) as error:
        print(f"pgqueue bench: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        _print_json(report, about)
    else:
        # Beside no terminal there is no width to keep to.
        table.show(report.figures, Console(width=None if sys.stdout.isatty() else 160))
        print(about)
    return 0 if arguments.no_page else _write_page(arguments.page, report, about)


def setting(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``.

    Raises:
      argparse.ArgumentTypeError: It is something else.
    """
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"{text!r} is no setting: expected NAME=VALUE")
    return name, value


def _measured(arguments: argparse.Namespace) -> tuple[Report, str]:
    began = time.monotonic()
    with stopped_by_signals(), server(arguments.url, dict(arguments.set)) as url:
        bench = Bench(
            url,
            arguments.rounds,
            arguments.scale,
            arguments.backlog,
            arguments.threads,
            arguments.full,
            arguments.against,
        )
        report = _measure(bench, arguments.only)
        about = _about(url, arguments)
    return report, f"{about} It took {time.monotonic() - began:.0f} s."


def _measure(bench: Bench, asked: Sequence[str]) -> Report:
    """What was asked for, or everything, without what there is nothing to compare with."""
    console, whole = Console(stderr=True), Report()
    for name in asked or MEASUREMENTS:
        try:
            with console.status(f"measuring {name} …"):
                part = MEASUREMENTS[name](bench)
        except (NoRelease, MissingExtra) as error:
            if name in asked or (bench.against and isinstance(error, NoRelease)):
                raise
            console.print(f"Left out {name}: {error}", soft_wrap=True)
            continue
        whole.figures.extend(part.figures)
        whole.plots.extend(part.plots)
    return whole


def _about(url: str, arguments: argparse.Namespace) -> str:
    with psycopg.connect(url, autocommit=True) as conn:
        settings = {
            name: conn.execute("SELECT current_setting(%s)", (name,)).fetchone()
            for name in ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        }
    told = ", ".join(f"{name} {value[0]}" for name, value in settings.items() if value)
    told += f"; a commit of one row takes {floor.commit_ms(url):.2g} ms"
    return (
        f"pgqueue {__version__}, Python {platform.python_version()}, {os.cpu_count()} processors;"
        f" {told}; medians of {arguments.rounds}, scale {arguments.scale:g}{', full' * arguments.full}."
    )


def _print_json(report: Report, about: str) -> None:
    json.dump(
        {"about": about, "figures": [figure.asdict() for figure in report.figures]}, sys.stdout, indent=2
    )
    print()


def _write_page(path: Path, report: Report, about: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        page.write(path, report.figures, report.plots, about=about)
    except page.MissingPlotly as error:
        print(f"pgqueue bench: {error}", file=sys.stderr)
        return 0
    print(f"The page is {path}.", file=sys.stderr)
    return 0
