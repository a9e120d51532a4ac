"""Every example of the documentation is run or looked at by a test; one of which neither holds fails here."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import shlex
import subprocess
import tomllib
from itertools import takewhile
from pathlib import Path

import pytest

from pgqueue.cli import COMMANDS, _command_parser, make_argument_parser
from pgqueue.integrations.health import Health
from pgqueue.storage.roles import KINDS
from tests.support.processes import ROOT

from . import (
    test_from_dramatiq,
    test_guide,
    test_operations,
    test_testing,
    test_transactional_actors,
    test_transactions,
)
from .pages import ENDS, Block, sections

PAGES = [*sorted((ROOT / "docs").glob("*.md"))] + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md", "benchmarks/README.md")
]

BLOCKS = [
    (str(path.relative_to(ROOT)), title, block)
    for path in PAGES
    for title, blocks in sections(path).items()
    for block in blocks
]

#: The sections whose Python runs block by block.
RUN = {
    *((f"docs/{path.name}", title) for path, title in test_guide.WITH_PYTHON),
    *(("docs/operations.md", title) for title in test_operations.WITH_PYTHON),
    *(("docs/testing.md", title) for title in [*test_testing.WITH_PYTHON, test_testing.FILES]),
    *(("docs/transactions.md", title) for title in test_transactions.WITH_PYTHON),
    *(("docs/transactional-actors.md", title) for title in test_transactional_actors.PAYMENTS),
    *(("docs/from-dramatiq.md", title) for title in test_from_dramatiq.WITH_PYTHON),
}

#: Blocks of other kinds by page and language: the test that runs or reads all of them, or why there is none.
OTHERS = {
    ("README.md", "python"): "tests/docs/test_readme.py::test_its_program_runs",
    ("docs/index.md", "python"): "tests/docs/test_site.py::test_the_first_page_runs_with_its_program_in_a_file",
    ("docs/dashboard.md", "python"):
        "tests/dashboard/test_mounting.py::test_the_examples_of_the_documentation_run",
    ("docs/frameworks.md", "python"):
        "tests/docs/test_frameworks.py::test_the_examples_are_parts_of_programs_that_are_tested",
    ("docs/deploying.md", "ini"):
        "tests/docs/test_deploying.py::test_the_unit_runs_workers_and_outlasts_what_they_finish",
    ("docs/deploying.md", "sql"): "tests/docs/test_deploying.py::test_rights_that_were_too_many_are_taken_away",
    ("docs/frameworks.md", "ini"): "tests/docs/test_frameworks.py::test_what_is_told_to_alembic_works",
    ("docs/frameworks.md", "json"): "tests/docs/test_every_block.py::test_the_answer_about_health_is_as_shown",
    ("docs/transactions.md", "sql"): "tests/docs/test_transactions.py::test_the_examples_run",
    ("docs/transactional-actors.md", "sql"):
        "tests/docs/test_transactional_actors.py::test_the_examples_leave_one_effect",
    ("docs/from-celery.md", "text"): "a program for Celery, to be read beside ours",
    ("docs/from-procrastinate.md", "text"): "a program for procrastinate, to be read beside ours",
    ("docs/design.md", ""): "a drawing",
}  # fmt: skip

LINES = [
    (name, line)
    for name, _, block in BLOCKS
    if block.language in {"sh", "console"}
    for line in re.sub(r"\\\n *", "", block.text).splitlines()
    if block.language == "sh" or line.startswith("$ ")
]


#: Commands within sentences and tables; a command's bare name is only a name.
INLINE = sorted(
    {
        (str(path.relative_to(ROOT)), command.partition(" > ")[0])
        for path in PAGES
        for command in re.findall(r"`(pgqueue(?:-gevent)? [^`\n]+)`", path.read_text())
        if "…" not in command and command.count(" ") > 1
    }
)


def names(block: tuple[str, str, Block]) -> str:
    return f"{block[0]}:{block[2].line}"


@pytest.mark.parametrize("block", BLOCKS, ids=names)
def test_a_test_runs_it_or_looks_at_it(block: tuple[str, str, Block]) -> None:
    name, title, found = block
    if found.language in {"sh", "console"}:
        return  # each line is looked at below
    if found.language == "python" and (name, title) in RUN:
        return
    assert (name, found.language) in OTHERS, f"nothing runs the example in {name}, line {found.line}"


def test_nothing_is_listed_that_is_not_there() -> None:
    assert OTHERS.keys() <= {(name, block.language) for name, _, block in BLOCKS}
    for test in OTHERS.values():
        path, _, function = test.partition("::")
        if function:
            module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
            assert callable(getattr(module, function)), test


def test_no_fence_is_overlooked() -> None:
    for path in PAGES:
        fences = re.findall(r"^\s*(?:```|~~~)", path.read_text(), re.MULTILINE)
        assert len(fences) == 2 * sum(map(len, sections(path).values())), path


# ── What is typed into a terminal ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "line"), LINES + INLINE)
def test_a_line_for_the_terminal_can_be_typed(name: str, line: str) -> None:
    words = shlex.split(line.removeprefix("$ "), comments=True)
    while words and re.match(r"PGQUEUE_\w+=", words[0]):
        del words[0]
    if words:
        assert words[0] in PROGRAMS, f"{name}: {line}"
        PROGRAMS[words[0]](list(takewhile(lambda word: word not in ENDS, words[1:])))


def _pgqueue(words: list[str]) -> None:
    if words[0] == "dashboard" or words[0] in COMMANDS:
        _command_parser(words[0]).parse_intermixed_args(words[1:])
    else:
        make_argument_parser().parse_intermixed_args(words)


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words[0] in targets
    arguments = [word.removeprefix("ARGS=") for word in words[1:] if word.startswith("ARGS=")]
    assert len(arguments) == len(words) - 1
    for typed in map(shlex.split, arguments):
        if words[0].startswith("bench"):
            package = "benchmarks.command" if words[0] == "bench" else "benchmarks.peers.command"
            parser = argparse.ArgumentParser()
            importlib.import_module(package).add_arguments(parser)
            parser.parse_intermixed_args(typed)
        for word in typed:
            assert not word.startswith("tests/") or (ROOT / word).exists(), word


def _pip(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] == "install"
    for word in words[1:]:
        found = re.fullmatch(r"([\w.-]+)(?:\[([\w,]+)\])?", word)
        assert found, word
        assert found[1] == project["name"], word
        assert set((found[2] or "all").split(",")) <= project["optional-dependencies"].keys()


def _export(words: list[str]) -> None:
    assert [word for word in words if not re.match(r"PGQUEUE_URL=(embedded:|postgresql://)", word)] == []


def _python(words: list[str]) -> None:
    assert words[0] == "app.py" or (ROOT / "examples" / words[0]).exists()


def _cd(words: list[str]) -> None:
    assert (ROOT / words[0]).is_dir()


def _grep(words: list[str]) -> None:
    """Run by `test_the_line_that_renames_the_package_does_so`."""
    assert words[:2] == ["-rl", "dramatiq"]


def _curl(words: list[str]) -> None:
    """Run by `test_the_request_of_the_documentation_is_understood` in `tests/dashboard/test_guard.py`."""
    assert words[-1] == "http://127.0.0.1:8417/messages"


def _for(words: list[str]) -> None:
    """Roles, each of which is granted something."""
    assert tuple(words[2:]) == (
        *KINDS[:-1],
        f"{KINDS[-1]};",
        "do",
        "createuser",
        "--pwprompt",
        "app_$role;",
        "done",
    )


PROGRAMS = {
    "cd": _cd,
    "curl": _curl,
    "export": _export,
    "for": _for,
    "grep": _grep,
    "make": _make,
    "pgqueue": _pgqueue,
    "pgqueue-gevent": _pgqueue,
    "pip": _pip,
    "python": _python,
}


def test_the_line_that_renames_the_package_does_so(tmp_path: Path) -> None:
    (line,) = {line for name, line in LINES if name == "docs/from-dramatiq.md" and line.startswith("grep")}
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mail.py").write_text("import dramatiq\n@dramatiq.actor\ndef f(): ...\n")
    (tmp_path / "notes.txt").write_text("dramatiq")
    subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, check=True)
    assert (tmp_path / "tasks" / "mail.py").read_text() == "import pgqueue\n@pgqueue.actor\ndef f(): ...\n"
    assert (tmp_path / "notes.txt").read_text() == "dramatiq"


def test_the_answer_about_health_is_as_shown() -> None:
    (shown,) = [block.text for _, _, block in BLOCKS if block.language == "json"]
    assert json.loads(shown) == Health(database=True, schema=True, workers=2).asdict()
