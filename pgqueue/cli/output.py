"""How operators' commands speak: tables that fit the terminal, plain columns into a pipe, JSON for programs."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ..common import visible_text
from ..operations.values import as_json

__all__ = [
    "Column",
    "Output",
    "add_output_arguments",
    "clock",
    "confirmed",
    "counted",
    "described",
    "visible",
]

#: Spaces between two columns, and the least room of a column whose text may be cut off.
GAP, LEAST = 2, 12

#: What a terminal may obey and JSON leaves as it is.
_LEFT_BY_JSON = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
      rank: Columns of the highest rank go first where there is not enough room; those of 0 stay.
      flexible: Its text may be cut off, with an ellipsis.
    """

    title: str
    rank: int = 0
    right: bool = False
    flexible: bool = False
    style: str | None = None


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


class Output:
    """Where a command writes; with ``--json`` only `data` does."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.json: bool = arguments.json
        self.console = Console(highlight=False, soft_wrap=False)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # for a terminal without our characters

    @property
    def lively(self) -> bool:
        """Whether a person sits before it."""
        return self.console.is_terminal and not self.json

    def data(self, value: Any) -> None:
        """Print a value as JSON; dataclasses and times in it are understood."""
        text = as_json(value, indent=2)
        print(_LEFT_BY_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)

    def say(self, text: str | Text = "", *, style: str | None = None) -> None:
        """Print a line, unless it is JSON that is wanted."""
        if self.json:
            return
        shown = visible(text)
        if self.lively:
            self.console.print(shown, style=style)
        else:
            print(shown.plain)

    def complain(self, text: str) -> None:
        """Say to standard error what is wrong with the command line."""
        print(f"pgqueue: {visible(text).plain}", file=sys.stderr)

    def progress(self, batches: Iterable[int], doing: str, total: int) -> int:
        """Add up what batches have done, with a bar on a terminal; return the sum."""
        if not self.lively:
            return sum(batches)
        done = 0
        with Progress(console=self.console, transient=True) as bar:
            task = bar.add_task(doing, total=total)
            for number in batches:
                done += number
                bar.update(task, completed=done, total=max(total, done))
        return done

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str | Text]]) -> None:
        """Print a table: as wide as the terminal, or as wide as it is where nobody looks."""
        cells = [[visible(cell) for cell in row] for row in rows]
        if self.json:
            return
        if self.lively:
            table, hidden = fitted(columns, cells, self.console.width)
            self.console.print(table)
            if hidden:
                self.console.print(f"Too narrow for: {', '.join(hidden)}.", style="dim")
        else:
            _print_plain(columns, cells)


def visible(text: str | Text) -> Text:
    """A text that can be printed: what a terminal would obey is shown as a picture of itself."""
    if isinstance(text, str):
        return Text(visible_text(text))
    shown = text.copy()
    shown.plain = visible_text(shown.plain)
    return shown


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> tuple[Table, list[str]]:
    """A table of as many columns as there is room for, and the titles of the others."""
    natural = [
        max([len(column.title), *(_width(row[n]) for row in rows)]) for n, column in enumerate(columns)
    ]
    least = [min(size, LEAST) if columns[n].flexible else size for n, size in enumerate(natural)]
    shown = list(range(len(columns)))
    for n in sorted(shown, key=lambda n: -columns[n].rank):
        if not columns[n].rank or sum(least[k] + GAP for k in shown) - GAP <= width:
            break
        shown.remove(n)
    widths = _shared(
        width - GAP * (len(shown) - 1),
        {n: natural[n] for n in shown},
        {n for n in shown if columns[n].flexible},
    )
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim", expand=False)
    for n in shown:
        column = columns[n]
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=True,
            overflow="ellipsis" if column.flexible else "fold",
            width=widths[n],
        )
    for row in rows:
        table.add_row(*(row[n] for n in shown))
    return table, [column.title for n, column in enumerate(columns) if n not in shown]


def _shared(room: int, natural: dict[int, int], flexible: set[int]) -> dict[int, int]:
    """How wide each column is: as it likes, but the flexible ones share what room the others leave."""
    left = room - sum(size for n, size in natural.items() if n not in flexible)
    widths = dict(natural)
    waiting = sorted(flexible, key=lambda n: natural[n])
    for place, n in enumerate(waiting):
        widths[n] = max(1, min(natural[n], left // (len(waiting) - place)))
        left -= widths[n]
    return widths


def _print_plain(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
    lines = [[column.title for column in columns], *([_one_line(cell.plain) for cell in row] for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    for line in lines:
        padded = [
            cell.rjust(widths[n]) if columns[n].right else cell.ljust(widths[n])
            for n, cell in enumerate(line)
        ]
        print((" " * GAP).join(padded).rstrip())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _width(cell: Text) -> int:
    return max((len(line) for line in cell.plain.splitlines()), default=0)


def clock(instant: datetime) -> str:
    """An instant in the local time zone, to the second."""
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S}"


def counted(number: int, *, complete: bool) -> str:
    """A number, with a plus where counting has stopped."""
    return f"{number:,}" + ("" if complete else "+")


def described(pairs: Iterable[tuple[str, str | None]]) -> Text:
    """Names and values below each other; values that are None are left out."""
    known = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    text = Text()
    for name, value in known:
        text.append(f"{name:{width}}  ", style="dim")
        text.append(f"{value}\n")
    text.rstrip()
    return text


def confirmed(output: Output, question: str, *, yes: bool) -> bool:
    """Whether to go on: by ``--yes``, or by an answer of the person at the terminal."""
    if yes:
        return True
    if not (output.lively and sys.stdin.isatty()):
        output.say(f"{question} Nothing is done without --yes.")
        return False
    try:
        answer = input(f"{visible(question)} Go on? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() in {"y", "yes"}:
        return True
    output.say("Nothing is done.")
    return False
