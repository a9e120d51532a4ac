"""What came out, for people on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from .figures import Figure

__all__ = ["bound", "number", "show"]

_STYLES = {"aim": "bold green", "reach": "green", "missed": "red", "watched": "dim"}


def show(figures: Sequence[Figure], console: Console | None = None) -> None:
    """Print every figure with its reference, its ratio and its target."""
    table = Table(
        title="pgqueue, each figure beside a reference measured in the same run", title_justify="left"
    )
    table.add_column("figure", overflow="fold", ratio=3)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("reference", overflow="fold", ratio=3)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("reach", justify="right", no_wrap=True)
    table.add_column("aim", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for figure in figures:
        style = _STYLES[figure.verdict]
        table.add_row(
            figure.what,
            number(figure.value, figure.unit),
            f"{number(figure.reference, figure.unit)}  {figure.against}",
            f"{figure.to_reference:.2f}",
            bound(figure, figure.target.reach),
            bound(figure, figure.target.aim),
            f"[{style}]{figure.verdict}[/]",
        )
    (console or Console()).print(table)


def number(value: float, unit: str) -> str:
    """A value with its unit: whole where it is large, with three digits where it is small."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text}/s" if unit == "1/s" else f"{text} {unit}".strip()


def bound(figure: Figure, value: float | None) -> str:
    """A target as it is compared: a ratio, or a value with its unit."""
    if value is None:
        return ""
    sign = "≥" if figure.target.more_is_better else "≤"
    return f"{sign} {value:g}" if figure.target.of == "ratio" else f"{sign} {number(value, figure.unit)}"
