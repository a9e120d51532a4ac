"""The table of faults in the operators' page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from ..support.processes import ROOT

#: The columns: what it is, its line in the log, what else counts it, the doctor's check, what it means.
_ROW = re.compile(
    r"\| (?P<name>.+?) \| (?P<log>.+?) \| (?P<metrics>.+?) \| (?P<checks>.+?) \| (?P<means>.+?) \|"
)
_LINE = re.compile(r"(?P<levels>[A-Z]+(?: or [A-Z]+)*) \*(?P<text>[^*]+)\*")


@dataclass(frozen=True)
class Row:
    """A row; ``line`` is a part of the text that is logged, at one of the ``levels``; ``doctor`` a column as it is."""

    name: str
    levels: tuple[str, ...]
    line: str
    metrics: tuple[str, ...]
    doctor: str
    checks: tuple[str, ...]
    means: str


@cache
def rows() -> tuple[Row, ...]:
    """Every row of the table."""
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.split("\n## Faults\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return tuple(_row(line) for line in lines)


def row_of(name: str) -> Row:
    """The row of a fault that is counted under a name."""
    (row,) = (row for row in rows() if row.name == f"`{name}`")
    return row


def _row(text: str) -> Row:
    found = _ROW.fullmatch(text)
    assert found, text
    line = _LINE.search(found["log"])
    assert line, text
    return Row(
        found["name"], tuple(line["levels"].split(" or ")), line["text"],
        tuple(re.findall(r"`([^`]+)`", found["metrics"])), found["checks"],
        tuple(re.findall(r"`([^`]+)`", found["checks"])), found["means"],
    )  # fmt: skip
