"""``python -m benchmarks``: measures, prints a table, and with ``--json`` the figures for programs."""

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from .drain import Drain, measure
from .server import server


def main() -> int:
    """Run what the arguments ask for."""
    arguments = _parser().parse_args()
    with server(arguments.url) as url:
        drains = [
            measure(
                url, messages=arguments.messages, processes=processes, threads=arguments.threads,
                results=results, rounds=arguments.rounds,
            )
            for processes in arguments.processes for results in ([False, True] if arguments.results else [False])
        ]  # fmt: skip
    if arguments.json:
        json.dump([drain.asdict() for drain in drains], sys.stdout, indent=2)
    else:
        _show(drains)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--url", help="a server to measure on; by default the bundled one, fully durable")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="messages a round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="worker processes")
    parser.add_argument("--threads", type=int, default=8, help="threads of each process")
    parser.add_argument("--results", action="store_true", help="also with results stored")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _show(drains: list[Drain]) -> None:
    table = Table(title="Drain of a full queue by no-op actors, against a bare DELETE … SKIP LOCKED loop")
    for heading in (
        "processes x threads",
        "results",
        "messages/s",
        "floor, rows/s",
        "ratio",
        "WAL a message",
    ):
        table.add_column(heading, justify="right")
    for drain in drains:
        table.add_row(
            f"{drain.processes} x {drain.threads}", "stored" if drain.results else "none", f"{drain.drained:,.0f}",
            f"{drain.floor:,.0f}", f"{drain.ratio:.2f}", f"{drain.wal_bytes_a_message:,.0f} B",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
