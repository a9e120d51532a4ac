"""``pgqueue dev MODULE …``: everything that developing needs, in one command.

This process holds the bundled server and has migrated it; the workers run in a program of their own, which
starts itself anew when files change, while the server goes on.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from types import FrameType

from .. import schema
from ..storage.database import Database, translated
from ..storage.urls import redacted
from .target import add_target_arguments, running, target_schema, target_url

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("broker", help="module of the broker, as for `pgqueue worker`")
    parser.add_argument("modules", metavar="module", nargs="*", help="further modules to import")
    add_target_arguments(parser)
    parser.add_argument("--processes", "-p", default="1", metavar="N", help="worker processes (default: 1)")
    parser.add_argument(
        "--threads", "-t", default="8", metavar="N", help="worker threads in each (default: 8)"
    )
    parser.add_argument("--watch", default=".", metavar="DIR", help="what to watch for changes (default: .)")
    parser.add_argument("--no-watch", action="store_true", help="don't start anew on changes")


def run(arguments: argparse.Namespace) -> int:
    """Run server and workers until a signal ends them; return the workers' exit code."""
    name = target_schema(arguments)
    with running(target_url(arguments, default="embedded:")) as url:
        with translated(Database(url)):
            schema.upgrade(url, name)
        print(f"Schema '{name}' is at {schema.head()}. Look inside: psql '{redacted(url)}'", flush=True)
        return _run_workers(_worker_words(arguments), url, name)


def _worker_words(arguments: argparse.Namespace) -> list[str]:
    words = ["worker", arguments.broker, *arguments.modules]
    words += ["--processes", arguments.processes, "--threads", arguments.threads]
    if arguments.no_watch:
        return words
    if importlib.util.find_spec("watchdog") is None:
        print("Changes are not watched; for that: pip install 'pgqueue-engine[watch]'", flush=True)
        return words
    return [*words, "--watch", arguments.watch]


def _run_workers(words: list[str], url: str, name: str) -> int:
    environment = {**os.environ, "PGQUEUE_URL": url, "PGQUEUE_SCHEMA": name}
    workers = subprocess.Popen([sys.executable, "-m", "pgqueue", *words], env=environment)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        workers.send_signal(number)

    # A terminal signals the workers' main process as well; that takes two in the same instant for one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    return workers.wait()
