"""``pgqueue demo``: see it work, on a server of its own or on one that is named."""

import argparse
import io
import json
import sys
from dataclasses import asdict

from rich.console import Console

from ..demo import MESSAGES, Settings, run_demo
from .demo_view import PlainView, TerminalView, show_report
from .worker import positive

__all__ = ["add_arguments", "run"]

#: Exit code when a page was not counted exactly once.
EXIT_CHECK_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--messages",
        type=positive,
        default=MESSAGES,
        metavar="N",
        help=f"how many pages to count (default: {MESSAGES})",
    )
    parser.add_argument(
        "--url",
        help="a PostgreSQL server to use, in a schema that is made for the demo and dropped after it "
        "(default: the bundled server, in a temporary directory)",
    )
    parser.add_argument("--threads", "-t", type=positive, default=8, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument(
        "--json", action="store_true", help="print the outcome as JSON, the course to standard error"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; return 0 if every file was counted exactly once."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal that has no check marks
    console = Console(stderr=arguments.json, highlight=False)
    settings = Settings(messages=arguments.messages, url=arguments.url, threads=arguments.threads)
    lively = console.is_terminal and not console.is_dumb_terminal
    with TerminalView(console) if lively else PlainView(console) as view:
        report = run_demo(settings, view)
    if arguments.json:
        print(json.dumps({**asdict(report), "exactly_once": report.holds}, indent=2))
    else:
        show_report(console, report)
    return 0 if report.holds else EXIT_CHECK_FAILED
