"""The examples in a page of the documentation: found, and run with what the page says of them.

An expression that is followed by ``# → text`` must have that representation. A line that begins with
``With [workers running]``, or ``<!-- workers run -->``, says that they run from the next example of the section on.
"""

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

__all__ = ["ENDS", "Block", "blocks_of", "commands_in", "page", "run_python", "sections"]

WORKERS_RUN = ("With [workers running]", "<!-- workers run -->")

#: What ends a command in a line for the shell.
ENDS = {"&", "|"}

EXPECTED = re.compile(r"#.*→ (.*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """One example: its language, its text, the line of the page on which that begins."""

    language: str
    text: str
    line: int
    workers_run: bool


def page(name: str) -> Path:
    """A page of the documentation."""
    return ROOT / "docs" / name


def sections(path: Path) -> dict[str, list[Block]]:
    """The examples of a page by the title of their section."""
    found: dict[str, list[Block]] = {"": []}
    title, language, text, begun, workers = "", None, "", 0, False
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        if language is not None and line.startswith("```"):
            found[title].append(Block(language, text, begun, workers))
            language, workers = None, False
        elif language is not None:
            text += line
        elif line.startswith("```"):
            language, text, begun = line[3:].strip(), "", number + 1
        elif line.startswith("## "):
            title = line[3:].strip()
            found[title] = []
        elif line.startswith(WORKERS_RUN):
            workers = True
    return {title: blocks for title, blocks in found.items() if blocks}


def blocks_of(path: Path, title: str, language: str) -> list[Block]:
    """The examples of a section in one language."""
    return [block for block in sections(path)[title] if block.language == language]


def commands_in(path: Path) -> Iterator[list[str]]:
    """The words of each ``pgqueue`` command that a page shows, without the first."""
    for blocks in sections(path).values():
        for block in blocks:
            for line in block.text.splitlines() if block.language == "sh" else ():
                words = shlex.split(line, comments=True)
                if words and words[0] in {"pgqueue", "pgqueue-gevent"}:
                    yield list(takewhile(lambda word: word not in ENDS, words[1:]))


def run_python(
    blocks: Sequence[Block], *, path: Path, start_workers: Callable[[], object] | None = None
) -> dict[str, Any]:
    """Run the examples of a section one after the other in one module; return its names."""
    checked: list[int] = []

    def check(value: object, expected: str, line: int) -> None:
        assert repr(value) == expected, f"{path.name}, line {line}"
        checked.append(line)

    names: dict[str, Any] = {"__name__": "docs", "_check": check}
    for block in blocks:
        if block.workers_run and start_workers is not None:
            start_workers()
            start_workers = None
        tree = _Checks(block.text.splitlines(), block.line).visit(ast.parse(block.text))
        ast.increment_lineno(ast.fix_missing_locations(tree), block.line - 1)
        exec(compile(tree, path, "exec"), names)  # noqa: S102 - our own page
    expected = sum(bool(EXPECTED.search(line)) for block in blocks for line in block.text.splitlines())
    assert len(checked) >= expected, f"{path.name}: only {checked} of {expected} results were looked at"
    return names


class _Checks(ast.NodeTransformer):
    """Puts a check around each expression whose line says what comes out."""

    def __init__(self, lines: list[str], first: int) -> None:
        self._lines = lines
        self._first = first

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        found = EXPECTED.search(self._lines[(node.end_lineno or 0) - 1])
        if found is None:
            return node
        line = self._first + node.lineno - 1
        arguments = [node.value, ast.Constant(found[1]), ast.Constant(line)]
        node.value = ast.Call(ast.Name("_check", ast.Load()), arguments, [])
        return node
