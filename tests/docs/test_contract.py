"""The table of Dramatiq's contract names tests that are there, and leaves no part of it out."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.docs.pages import page
from tests.support.processes import ROOT

CONTRACT = page("contract.md")

#: A test as the page names it: ``path::name`` or ``path::Class::name``, below ``tests/``.
TEST = re.compile(r"`([\w/]+\.py)::([\w:]+)`")


def rows_by_heading(text: str) -> dict[str, list[list[str]]]:
    """The cells of each table's rows, without its head, by the heading above."""
    found: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("## "):
            rows = found[line.removeprefix("## ")] = []
        elif line.startswith("|"):
            # A bar inside of code is escaped, as Markdown wants it.
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return {heading: rows[2:] for heading, rows in found.items()}


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names of a file's tests, those of classes as ``Class::name``."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return frozenset(name for name in names if name.rpartition("::")[2].startswith("test_"))


def test_every_test_that_is_named_exists() -> None:
    named = TEST.findall(CONTRACT.read_text())
    assert named
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / "tests" / path).is_file() or name not in names_in(ROOT / "tests" / path)
    ]
    assert not missing


def test_every_heading_has_rows() -> None:
    by_heading = rows_by_heading(CONTRACT.read_text())
    assert by_heading
    assert not [heading for heading, rows in by_heading.items() if not rows]


def test_every_row_names_a_test_or_says_why_there_is_none() -> None:
    bare = [
        row
        for rows in rows_by_heading(CONTRACT.read_text()).values()
        for row in rows
        if len(row) != 3 or not (TEST.search(row[1]) or row[2])
    ]
    assert not bare


def test_whatever_looks_like_a_test_is_read_as_one() -> None:
    """A slip of the pen must not take a name out of what is checked."""
    text = "".join(line for line in CONTRACT.read_text().splitlines() if line.startswith("|"))
    assert text.count("::") == sum(1 + name.count("::") for _, name in TEST.findall(text))
