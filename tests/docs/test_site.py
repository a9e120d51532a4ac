"""The site: its first page runs, every page is in it, its reference names what there is. `make docs` builds it."""

from __future__ import annotations

import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import pgqueue
from pgqueue.cli import COMMANDS, _command_parser, make_argument_parser
from tests.conftest import WorkerFor
from tests.support.processes import ROOT

from .pages import blocks_of, commands_in, page, run_python, sections

INDEX, REFERENCE = page("index.md"), page("reference.md")
SITE: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
NAMED = re.findall(r"^::: (\S+)$", REFERENCE.read_text(), re.MULTILINE)


def pages(entries: list[Any]) -> list[str]:
    """The files of the contents, those of the sections included."""
    found: list[str] = []
    for entry in entries:
        for target in entry.values():
            found += [target] if isinstance(target, str) else pages(target)
    return found


@pytest.mark.usefixtures("postgres_broker")
def test_the_first_page_runs_with_its_program_in_a_file(
    tmp_path: Path,
    database_url: str,
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PGQUEUE_URL", database_url)
    program, *typed = (
        block for blocks in sections(INDEX).values() for block in blocks if block.language == "python"
    )
    (tmp_path / "app.py").write_text(program.text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    try:
        run_python(typed, path=INDEX, start_workers=lambda: worker_for(pgqueue.get_broker()))
    finally:
        sys.modules.pop("app", None)
    assert capsys.readouterr().out == "Hello, Ada!\n"


def test_the_first_page_says_which_server_both_terminals_use() -> None:
    shell = [block.text for block in blocks_of(INDEX, "Five minutes", "sh")]
    assert any(
        text.startswith("export PGQUEUE_URL=embedded:") and "pgqueue dev app" in text for text in shell
    )


@pytest.mark.parametrize("words", list(commands_in(INDEX)), ids=" ".join)
def test_its_commands_are_understood(words: list[str]) -> None:
    if words[0] in COMMANDS:
        _command_parser(words[0]).parse_intermixed_args(words[1:])
    else:
        make_argument_parser().parse_intermixed_args(words)


def test_every_page_is_in_the_contents_once() -> None:
    assert sorted(pages(SITE["nav"])) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_a_broken_link_is_an_error_and_nothing_comes_from_other_hosts() -> None:
    assert SITE["strict"]
    assert set(SITE["validation"]["links"].values()) == {"warn"}
    assert SITE["theme"]["font"] is False


@pytest.mark.parametrize("name", NAMED)
def test_what_the_reference_names_exists(name: str) -> None:
    assert pkgutil.resolve_name(name).__doc__


def test_the_reference_has_every_public_name() -> None:
    described = {name.rpartition(".")[2] for name in NAMED}
    # The errors are described by their module, as a whole.
    errors = {name for name in pgqueue.__all__ if _is_error(getattr(pgqueue, name))}
    assert set(pgqueue.__all__) - described - errors == set()


def _is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseException)
