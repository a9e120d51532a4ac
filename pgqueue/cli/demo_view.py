"""How the demo looks: lines and a progress bar on a terminal, lines alone elsewhere, a table at the end."""

import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.status import Status
from rich.table import Table
from rich.text import Text

from ..demo import Report

__all__ = ["PlainView", "TerminalView", "show_report"]

#: Seconds between two lines of progress where there is no bar.
LINE_EVERY_S = 2.0

COUNTING = "Counting words"
WAITING = "Waiting until the killed process's messages are free"
INTRODUCTION = "Counting the words in Python's library by two processes, one of which is killed."


class PlainView:
    """Lines without colour, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_line_at = 0.0
        self._waiting = False

    def __enter__(self) -> Self:
        self._console.print(INTRODUCTION)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is on show that would have to be taken away."""

    def doing(self, text: str) -> None:
        """Say nothing: it will be said when it is done."""

    def done(self, text: str) -> None:
        """Print what has been done."""
        self._console.print(text, soft_wrap=True, markup=False)

    def progress(self, done: int, total: int, *, waiting: bool) -> None:
        """Print a line from time to time."""
        if waiting and not self._waiting:
            self.done(f"{WAITING} …")
        self._waiting = waiting
        now = time.monotonic()
        if now >= self._next_line_at and done > 0:
            self._next_line_at = now + LINE_EVERY_S
            self.done(f"{done:,} of {total:,} counted")

    def stopping(self) -> None:
        """Say that the end is near."""
        self.done("Stopping, and removing everything …")


class TerminalView:
    """Check marks, a spinner and a bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._since = time.monotonic()
        self._status = Status("", console=console)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(COUNTING, start=False)

    def __enter__(self) -> Self:
        self._console.print(INTRODUCTION)
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()
        self._bar.stop()

    def doing(self, text: str) -> None:
        """Show a spinner."""
        self._bar.stop()
        self._status.update(f"{text} …")
        self._status.start()

    def done(self, text: str) -> None:
        """Print a line above the bar, with the seconds it took."""
        now = time.monotonic()
        line = Text.assemble(("✓ ", "green"), text, (f"  {now - self._since:.1f} s", "dim"))
        self._since = now
        self._console.print(line)

    def progress(self, done: int, total: int, *, waiting: bool) -> None:
        """Move the bar."""
        if not self._bar.live.is_started:
            self._status.stop()
            self._bar.start()
            self._bar.start_task(self._task)
        self._bar.update(
            self._task, completed=done, total=total, description=WAITING if waiting else COUNTING
        )

    def stopping(self) -> None:
        """Say that the end is near."""
        self._console.print("Stopping, and removing everything …", style="yellow")


def show_report(console: Console, report: Report) -> None:
    """Print the table and the outcome of the check."""
    console.print()
    console.print(_figures(report))
    console.print()
    console.print(_largest(report))
    console.print()
    if report.holds:
        console.print("✓ Every file was counted exactly once.", style="bold green")
        console.print(
            f"  {report.messages:,} messages, as many acks, one callback; each count is the file's own.",
            style="dim",
        )
        return
    console.print("✗ Not every file was counted exactly once:", style="bold red")
    for problem in report.problems:
        console.print(f"  {problem}", markup=False)


def _figures(report: Report) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    copies = "" if report.files == report.messages else f"served {report.messages:,} times in all"
    table.add_row("Files", f"{report.files:,}", copies)
    table.add_row("Words", f"{report.words:,}")
    table.add_row(
        "Messages a second",
        f"{report.rate:,.0f}",
        f"in {report.seconds:.1f} s; {report.rate_before_kill:,.0f} a second before the kill",
    )
    table.add_row("Retries", f"{report.retries:,}", "the web server was too busy at first (503)")
    table.add_row(
        "Rerun after the kill",
        f"{report.rerun:,}",
        f"process {report.killed_process} was running them when it was killed",
    )
    return table


def _largest(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Largest files")
    table.add_column("Words", justify="right")
    table.add_column("Kilobytes", justify="right")
    for name, size, words in report.largest:
        table.add_row(Text(name), f"{words:,}", f"{size / 1000:,.0f}")
    return table
