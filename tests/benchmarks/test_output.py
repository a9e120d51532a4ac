"""What people and programs are shown."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import page, table
from benchmarks.figures import Figure, Line, Plot, Target, at_most

FIGURES = [
    Figure("drain.1", "drain, <no-op>", 30_000, "1/s", 60_000, "bare loop", Target(reach=0.5, aim=0.8)),
    Figure("pickup.p50", "commit to start", 2.5, "ms", 0.5, "bare LISTEN", at_most(2.0, 0.8)),
]
PLOTS = [
    Plot("Claims", "consumed", "buffers", [Line("held", [(0.0, 4.0), (1.0, 4.1)])]),
    Plot("Sending", "producers", "1/s", [Line("send", [(1.0, 4.0)])], log_x=True),
]


def test_the_table_has_each_figure_with_reference_ratio_and_target() -> None:
    out = io.StringIO()

    table.show(FIGURES, Console(file=out, width=160))

    lines = out.getvalue().splitlines()
    (drain,) = [line for line in lines if "drain, <no-op>" in line]
    assert all(
        text in drain for text in ("30,000/s", "60,000/s  bare loop", "0.50", "≥ 0.5", "≥ 0.8", "reach")
    )
    (pickup,) = [line for line in lines if "commit to start" in line]
    assert all(
        text in pickup for text in ("2.5 ms", "0.5 ms  bare LISTEN", "5.00", "≤ 2 ms", "≤ 0.8 ms", "missed")
    )


def test_the_page_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    path = tmp_path / "report.html"

    page.write(path, FIGURES, PLOTS, about="on <this> machine")

    text = path.read_text()
    assert "on &lt;this&gt; machine" in text
    assert "drain, &lt;no-op&gt;" in text
    assert text.count("<h1>") == 1
    assert "<script src" not in text
    assert "<link" not in text
    assert text.count("Plotly.newPlot(") >= len(PLOTS)


def test_without_plotly_the_page_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without_plotly(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith("plotly"):
            raise ImportError(name)
        return real_import(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without_plotly)

    with pytest.raises(page.MissingPlotly, match=r"pip install 'pgqueue-engine\[bench\]'"):
        page.write(tmp_path / "report.html", FIGURES, PLOTS, about="")
