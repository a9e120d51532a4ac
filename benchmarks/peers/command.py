"""Measure pgqueue beside other queues for Python; print a table or JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from ..ending import stopped_by_signals
from ..server import server_on_loopback
from . import environments, peer as peers, services, table
from .environments import Environment
from .peer import Peer, Unavailable
from .scenarios import Options, Outcome, measure, measure_recovery
from .workers import stopped_with_the_block

__all__ = ["add_arguments", "run"]

#: Where environments are kept, from where the command is run.
CACHE = Path(".cache/peers")

#: Enough for the workers of all queues at once.
SETTINGS = {"max_connections": "400"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    defaults = Options()
    parser.add_argument(
        "only", nargs="*", metavar="NAME", help=f"which queues: {', '.join(peers.names())} (all)"
    )
    parser.add_argument(
        "--url", help="a PostgreSQL server to measure on; by default the bundled one, durable"
    )
    parser.add_argument(
        "--messages",
        type=int,
        default=defaults.messages,
        help="messages of a drain; queues that are known to be slow get a part (%(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=defaults.rounds,
        help="rounds of drains at most, of which the median counts (%(default)s)",
    )
    parser.add_argument(
        "--recovery",
        type=float,
        default=defaults.recovery_s,
        metavar="SECONDS",
        help="how long to wait for what a killed worker was at; 0 leaves this out (%(default)s)",
    )
    parser.add_argument("--no-held", action="store_true", help="leave out the drain under a held snapshot")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PATH",
        help="an interpreter for queues that need another version than this one's; may be given several times",
    )
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="folder of the virtual environments (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in the place of the table")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table as Markdown, too")


def run(arguments: argparse.Namespace) -> int:
    """Measure and show; return the exit code, which is 1 if a queue that could be measured was not."""
    unknown = [name for name in arguments.only if name not in peers.names()]
    if unknown:
        print(f"There is no queue {unknown[0]!r} here: expected {', '.join(peers.names())}.", file=sys.stderr)
        return 2
    began = time.monotonic()
    options = Options(
        messages=arguments.messages,
        rounds=arguments.rounds,
        recovery_s=arguments.recovery,
        held=not arguments.no_held,
    )
    with stopped_by_signals(), _server(arguments.url) as url:
        outcomes = _measure(arguments, url, options)
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, load"
        f" {os.getloadavg()[1]:.1f}; it took {time.monotonic() - began:.0f} s."
    )
    _show(outcomes, about, arguments)
    return int(any(outcome.drain is None for outcome in outcomes if not outcome.skipped))


@contextlib.contextmanager
def _server(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with server_on_loopback(SETTINGS) as bundled:
        yield bundled


def _show(outcomes: Sequence[Outcome], about: str, arguments: argparse.Namespace) -> None:
    if arguments.markdown:
        arguments.markdown.write_text(f"{about}\n\n{table.markdown(outcomes)}", encoding="utf-8")
    if arguments.json:
        json.dump(
            {"about": about, "queues": [outcome.asdict() for outcome in outcomes]}, sys.stdout, indent=2
        )
        print()
        return
    # Beside no terminal there is no width to keep to.
    table.show(outcomes, Console(width=None if sys.stdout.isatty() else 160, soft_wrap=True))
    print(about)


def _measure(arguments: argparse.Namespace, url: str, options: Options) -> list[Outcome]:
    running = services.Services(url)
    found: list[tuple[Peer, Environment, Outcome]] = []
    outcomes = []
    for name in arguments.only or peers.names():
        peer = peers.load(name)
        outcome = Outcome(name, peer.title, settings=peer.settings, durability=peer.durability)
        outcomes.append(outcome)
        _tell(f"{peer.title} …")
        try:
            services.require(peer.service)
            environment = environments.make(peer, arguments.cache.absolute(), pythons=arguments.python)
            _describe(peer, environment, outcome, url)
            measure(peer, environment, running, options, outcome)
            found.append((peer, environment, outcome))
        except Unavailable as reason:
            outcome.skipped = str(reason)
            _tell(f"{peer.title} is skipped: {reason}")
    if options.recovery_s:
        _recover(found, running, options)
    return outcomes


def _describe(peer: Peer, environment: Environment, outcome: Outcome, url: str) -> None:
    outcome.python, outcome.versions = environment.python_version, environment.versions
    outcome.version = f"{peer.package} {environment.versions.get(peer.package, '')}".strip()
    outcome.server = services.version(peer.service, url)


def _recover(
    found: Sequence[tuple[Peer, Environment, Outcome]], running: services.Services, options: Options
) -> None:
    """All at once, for all that they do is wait."""
    _tell(f"kill -9, all of them at once, up to {options.recovery_s:.0f} s …")
    with ThreadPoolExecutor(len(found) or 1) as threads, stopped_with_the_block():
        jobs = [
            threads.submit(measure_recovery, peer, environment, running, options, outcome)
            for peer, environment, outcome in found
        ]
        for job in jobs:
            job.result()


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
