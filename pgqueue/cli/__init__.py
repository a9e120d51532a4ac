"""The command line: ``pgqueue MODULE …`` runs workers as Dramatiq's command does, ``pgqueue COMMAND …`` the rest.

A first word that is a known command is that command; anything else is the module of a broker.
Each command is a module of this package with ``add_arguments(parser)`` and ``run(arguments) -> int``,
imported only when it is asked for.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from .. import __version__
from ..errors import BrokerConnectionError, PgQueueError
from ..supervisor.loading import import_broker, import_object

__all__ = ["COMMANDS", "Command", "import_broker", "import_object", "main", "make_argument_parser"]


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the module that has it, and what it does in a few words."""

    module: str
    purpose: str


#: Every command by its name. A new one needs a line here and its module, nothing else.
COMMANDS = {
    "worker": Command("pgqueue.cli.worker", "run workers; the word may be left out"),
    "migrate": Command("pgqueue.cli.migrate", "create the database schema or bring it up to date"),
    "demo": Command("pgqueue.cli.demo", "see it work: count words, and kill a worker in mid-run"),
    "bench": Command("pgqueue.cli.bench", "measure it, each figure beside a reference of the same run"),
    "queues": Command("pgqueue.cli.queues", "depths and ages of the queues; pause and resume"),
    "messages": Command("pgqueue.cli.messages", "list, show, retry, cancel, delete messages"),
    "dead": Command("pgqueue.cli.dead", "dead letters: what died of what; requeue, purge"),
    "workers": Command("pgqueue.cli.workers", "who works, and on what"),
    "why": Command("pgqueue.cli.why", "explain why a message is not running"),
    "doctor": Command("pgqueue.cli.doctor", "look for what is wrong, and say what mends it"),
    "top": Command("pgqueue.cli.top", "queues and workers, live"),
    "dashboard": Command("pgqueue.cli.dashboard", "all of this in a browser"),
    "grafana": Command("pgqueue.cli.grafana", "print a Grafana board, or alert rules, for the metrics"),
    "dev": Command("pgqueue.cli.dev", "bundled server, schema and reloading workers, in one"),
}

#: Exit codes, as Dramatiq's: a start that failed for what the user gave, and one that found no server.
EXIT_USAGE = 2
EXIT_CONNECTION = 3

#: What a shell says about a program ended by Ctrl-C.
EXIT_INTERRUPTED = 130

EPILOG = """\
commands:
{commands}

examples:
  pgqueue app                         run the actors of app.py with one process a CPU, eight threads each
  pgqueue app:broker app.mail         use app.broker, import app.mail too
  pgqueue app -p 2 -t 16 -Q mail      two processes, sixteen threads each, only the queue "mail"
  pgqueue app --watch .               start anew whenever a Python file changes
  pgqueue migrate --url postgresql://localhost/app
"""


class _CommandModule(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


def main(args: argparse.Namespace | Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code.

    Parameters:
      args: The words after the program's name (default: this process's), or a worker's parsed arguments.
    """
    _open_standard_streams()
    if isinstance(args, argparse.Namespace):
        return _run(_load("worker"), args)
    words = list(sys.argv[1:] if args is None else args)
    if words and words[0] in COMMANDS:
        parser = _command_parser(words[0])
        _refuse_what_cannot_be_stored(parser, words[1:])
        return _run(_load(words[0]), parser.parse_intermixed_args(words[1:]))
    return _run(_load("worker"), make_argument_parser().parse_intermixed_args(words))


def _open_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed.

    Whatever is opened next would have its number, and everybody's output would go there: into a connection, perhaps.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            mode = "r" if number == 0 else "w"
            # For as long as the process lives.
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def make_argument_parser() -> argparse.ArgumentParser:
    """Return the parser of ``pgqueue MODULE …``."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:{width}}{command.purpose}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="pgqueue",
        description="Run workers, or one of the commands below.",
        epilog=EPILOG.format(commands=commands),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _load("worker").add_arguments(parser)
    parser.add_argument("--version", action="version", version=__version__)
    return parser


def _command_parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"pgqueue {name}", description=f"{COMMANDS[name].purpose.capitalize()}."
    )
    _load(name).add_arguments(parser)
    return parser


def _refuse_what_cannot_be_stored(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """End with a usage error where a word can't be in the database: bytes that are not UTF-8, or a NUL."""
    for word in words:
        if "\0" in word or word != word.encode(errors="replace").decode():
            parser.error(
                f"argument {word!a} is not text that the database can hold: it must be UTF-8 without NUL"
            )


def _load(name: str) -> _CommandModule:
    return cast("_CommandModule", importlib.import_module(COMMANDS[name].module))


def _run(command: _CommandModule, arguments: argparse.Namespace) -> int:
    """Run a command; a mistake of the user's becomes one line and an exit code."""
    try:
        return command.run(arguments)
    except PgQueueError as error:
        print(f"pgqueue: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_CONNECTION if isinstance(error, BrokerConnectionError) else EXIT_USAGE
    except BrokenPipeError:
        # The reader of our output has seen enough (`| head`); nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
