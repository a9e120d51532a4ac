"""``pgqueue grafana``: the board for Grafana and the rules for Prometheus that fit the metrics of workers.

Both are files in ``monitoring`` beside this module, as Grafana and Prometheus read them. The metrics are those of
`pgqueue.middleware.prometheus.Prometheus`.
"""

import argparse
import sys
from importlib.resources import files

__all__ = ["add_arguments", "read", "run"]

#: The board, which asks for a Prometheus data source when it is imported, and the rules.
BOARD, RULES = "board.json", "rules.yml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--alerts", action="store_true", help="print Prometheus's alert rules, not the board")


def run(arguments: argparse.Namespace) -> int:
    """Print the board or the rules; return the exit code."""
    sys.stdout.write(read(RULES if arguments.alerts else BOARD))
    sys.stdout.flush()
    return 0


def read(name: str) -> str:
    """Return one of the two files, ``BOARD`` or ``RULES``, as text."""
    return files(__package__).joinpath("monitoring", name).read_text(encoding="utf-8")
