"""``pgqueue doctor``: look at everything that can be wrong, and say what mends it."""

import argparse

from rich.text import Text

from ..operations.checking import Check, check
from .output import Output, add_output_arguments
from .target import add_target_arguments, opened

__all__ = ["add_arguments", "run"]

MARKS = {"ok": ("✓", "green"), "warning": ("!", "bold yellow"), "failure": ("✗", "bold red")}

#: Exit codes: something is wrong; the database can't be reached.
EXIT_WRONG, EXIT_UNREACHABLE = 1, 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--strict", action="store_true", help="exit with 1 for a warning, too")
    add_output_arguments(parser)
    add_target_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check; return 0 if nothing is wrong, 1 if something is, 3 if the database can't be reached."""
    output = Output(arguments)
    checks: list[Check] = []
    with opened(arguments, check=False) as database:
        for each in check(database):
            checks.append(each)
            _show(output, each)
    if output.json:
        output.data({"checks": checks})
    failed = [each for each in checks if each.verdict == "failure"]
    warned = [each for each in checks if each.verdict == "warning"]
    if any(each.name == "reachable" for each in failed):
        return EXIT_UNREACHABLE
    return EXIT_WRONG if failed or (warned and arguments.strict) else 0


def _show(output: Output, each: Check) -> None:
    mark, style = MARKS[each.verdict]
    if output.lively:
        output.say(Text.assemble((f"{mark} ", style), (f"{each.name}: ", "bold"), each.found))
    else:
        output.say(f"{each.verdict:8} {each.name}: {' '.join(each.found.split())}")
    if each.remedy is not None and each.verdict != "ok":
        output.say(Text.assemble("  → ", (each.remedy, "bold")))
