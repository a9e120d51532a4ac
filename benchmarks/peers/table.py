"""What came out, for people on a terminal, and as Markdown for the README."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .scenarios import Outcome

__all__ = ["HEADINGS", "cells", "markdown", "show"]

HEADINGS = (
    "queue",
    "drain",
    "send",
    "send many",
    "start p50",
    "start p99",
    "held snapshot",
    "kill -9",
    "each once",
)


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the figures, then what each was measured with, then who was skipped and why."""
    table = Table(
        title="Queues for Python, each with two workers, on this machine alone", title_justify="left"
    )
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if number else "left", no_wrap=number > 0)
    measured = [outcome for outcome in outcomes if not outcome.skipped]
    for outcome in measured:
        table.add_row(*cells(outcome))
    console.print(table)
    for outcome in measured:
        console.print(f"[bold]{outcome.title}[/] {escape(_made_of(outcome))}", highlight=False)
        for note in _notes(outcome):
            console.print(f"  {note}", style="yellow", highlight=False, markup=False)
    for outcome in outcomes:
        if outcome.skipped:
            console.print(f"[bold]{outcome.title}[/] was skipped: {escape(outcome.skipped)}", highlight=False)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The same as Markdown."""
    measured = [outcome for outcome in outcomes if not outcome.skipped]
    lines = [f"| {' | '.join(HEADINGS)} |", f"|---|{'--:|' * (len(HEADINGS) - 1)}"]
    lines += [f"| {' | '.join(cells(outcome))} |" for outcome in measured]
    lines += ["", "| queue | measured with |", "|---|---|"]
    lines += [f"| {outcome.title} | {_made_of(outcome)} |" for outcome in measured]
    notes = [f"- {outcome.title}, {note}" for outcome in measured for note in _notes(outcome)]
    skipped = [f"- {outcome.title} was skipped: {outcome.skipped}" for outcome in outcomes if outcome.skipped]
    return "\n".join([*lines, "", *notes, *skipped]).rstrip() + "\n"


def cells(outcome: Outcome) -> list[str]:
    """A queue's row."""
    ratio = outcome.held_ratio
    return [
        outcome.title,
        _rate(outcome.drain),
        _rate(outcome.send),
        _rate(outcome.send_many),
        _ms(outcome.latency_p50_ms),
        _ms(outcome.latency_p99_ms),
        "" if ratio is None else f"{ratio:.2f} x",
        _recovery(outcome),
        "yes" if outcome.exactly_once else "no",
    ]


def _recovery(outcome: Outcome) -> str:
    if outcome.recovery_s is not None:
        return f"{outcome.recovery_s:.1f} s"
    return "" if outcome.waited_s is None else f"> {outcome.waited_s:.0f} s"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}/s"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _made_of(outcome: Outcome) -> str:
    times = f" x {outcome.rounds}" if outcome.rounds > 1 else ""
    return (
        f"{outcome.version}, Python {outcome.python}, {outcome.server}; {outcome.messages:,} messages{times};"
        f" {outcome.settings}. {outcome.durability[:1].upper()}{outcome.durability[1:]}."
    )


def _notes(outcome: Outcome) -> list[str]:
    wrong = [f"{scenario}: {found}" for scenario, found in outcome.checks.items() if found != "each once"]
    return [*wrong, *outcome.notes]
