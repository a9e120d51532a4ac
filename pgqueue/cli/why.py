"""``pgqueue why ID``: why a message is not running, or what became of it."""

import argparse

from rich.text import Text

from ..operations import explaining
from .output import Output, add_output_arguments
from .target import add_target_arguments, opened

__all__ = ["STYLES", "add_arguments", "run"]

#: How states look on a terminal.
STYLES = {
    "running": "green", "queued": "cyan", "parked": "yellow", "scheduled": "blue", "done": "green",
    "failed": "bold red", "cancelled": "yellow", "unknown": "bold red",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("id", metavar="ID", help="the message's id")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Explain; return 0, or 1 if nothing is known of the message."""
    output = Output(arguments)
    with opened(arguments) as database:
        explanation = explaining.explain(explaining.find(database, arguments.id))
    if output.json:
        output.data({"message_id": arguments.id, "status": explanation.status,
                     "because": explanation.because, "remedy": explanation.remedy})  # fmt: skip
    else:
        output.say(Text.assemble(f"{arguments.id} is ", (explanation.status, STYLES[explanation.status])))
        for reason in explanation.because:
            output.say(f"  {reason}")
        if explanation.remedy is not None:
            output.say(Text.assemble("  → ", (explanation.remedy, "bold")))
    return 1 if explanation.status == "unknown" else 0
