"""What came out, as a page with plots: one HTML file that asks no other host for anything."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .figures import Figure, Plot
from .table import bound, number

__all__ = ["MissingPlotly", "write"]

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #1c2530; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .35rem .6rem; border-bottom: 1px solid #e3e7ec; }
th { text-align: left; } td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.aim, .reach { color: #12703a; } .aim { font-weight: 600; } .missed { color: #b3261e; font-weight: 600; }
.watched { color: #6b7683; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 1rem; }
"""


class MissingPlotly(RuntimeError):
    """The page can't be drawn; the table and the JSON can."""

    def __init__(self) -> None:
        super().__init__("The page of plots needs plotly: pip install 'pgqueue-engine[bench]'. ")


def write(path: Path, figures: Sequence[Figure], plots: Sequence[Plot], *, about: str) -> None:
    """Write the page.

    Parameters:
      about: Where and with what this was measured.

    Raises:
      MissingPlotly: The extra ``bench`` is not installed.
    """
    drawn = [_drawn(plot, first=number == 0) for number, plot in enumerate(plots)]
    rows = "\n".join(map(_row, figures))
    path.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>pgqueue, measured</title>
<style>{_STYLE}</style></head><body><h1>pgqueue, measured</h1><p>{html.escape(about)}</p>
<p>Each figure stands beside a reference measured in the same run on the same server; only ratios carry over to another
machine.</p>
<table><thead><tr><th>figure</th><th>measured</th><th>reference</th><th>ratio</th><th>reach</th><th>aim</th><th></th></tr>
</thead><tbody>{rows}</tbody></table>
<h2>How each behaves as work grows</h2><div class="plots">{"".join(drawn)}</div></body></html>""",
        encoding="utf-8",
    )


def _row(figure: Figure) -> str:
    cells = [
        f"<td>{html.escape(figure.what)}</td>",
        f'<td class="n">{number(figure.value, figure.unit)}</td>',
        f"<td>{number(figure.reference, figure.unit)}, {html.escape(figure.against)}</td>",
        f'<td class="n">{figure.to_reference:.2f}</td>',
        f'<td class="n">{bound(figure, figure.target.reach)}</td>',
        f'<td class="n">{bound(figure, figure.target.aim)}</td>',
        f'<td class="{figure.verdict}">{figure.verdict}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _drawn(plot: Plot, *, first: bool) -> str:
    """A plot as HTML; the first brings the library's script along for all."""
    try:
        import plotly.graph_objects as go  # noqa: PLC0415  # the extra `bench`
    except ImportError as error:
        raise MissingPlotly from error
    figure = go.Figure(
        [
            go.Scatter(
                x=[x for x, _ in line.points],
                y=[y for _, y in line.points],
                name=line.name,
                mode="lines+markers",
            )
            for line in plot.lines
        ]
    )
    axis: dict[str, Any] = {"title": plot.x, "type": "log"} if plot.log_x else {"title": plot.x}
    figure.update_layout(
        title=plot.title,
        xaxis=axis,
        yaxis={"title": plot.y, "rangemode": "tozero"},
        template="plotly_white",
        legend={"orientation": "h", "y": -0.25},
        margin={"l": 60, "r": 20, "t": 50, "b": 60},
        height=380,
    )
    drawn: str = figure.to_html(full_html=False, include_plotlyjs=first, config={"displaylogo": False})
    return f"<div>{drawn}</div>"
