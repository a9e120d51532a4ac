"""The page about frameworks says what is so: its examples run."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pgqueue import schema
from pgqueue.integrations.django.conf import Settings
from tests.integrations.django.aliases import BACKEND
from tests.integrations.host import HostApplication
from tests.support.processes import ROOT

from .pages import blocks_of, page, sections

FRAMEWORKS = page("frameworks.md")


def test_every_section_is_in_the_contents() -> None:
    text = FRAMEWORKS.read_text()
    titles = [line[3:].lower() for line in text.splitlines() if line.startswith("## ")]
    assert [
        title for title in titles if f"(#{title.replace(' ', '-').replace(chr(39), '')})" not in text
    ] == []


def test_the_examples_are_parts_of_programs_that_are_tested() -> None:
    programs = [path.read_text() for path in (ROOT / "examples").rglob("*.py")]
    shown = [
        block
        for title, blocks in sections(FRAMEWORKS).items()
        for block in blocks
        if block.language == "python" and title not in {"Alembic", "Django's Tasks"}
    ]
    assert len(shown) >= 7
    assert [block.line for block in shown if not any(block.text in program for program in programs)] == []


def test_every_setting_of_django_is_named() -> None:
    text = FRAMEWORKS.read_text()
    assert [item.name for item in fields(Settings) if f"| `{item.name.upper()}` |" not in text] == []


def test_the_task_backend_is_found_where_the_page_says() -> None:
    names: dict[str, Any] = {}
    exec(blocks_of(FRAMEWORKS, "Django's Tasks", "python")[0].text, names)  # noqa: S102 - our own page
    assert names["TASKS"]["default"]["BACKEND"] == BACKEND


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_what_is_told_to_alembic_works(number: int, tmp_path: Path, empty_database_url: str) -> None:
    """The first example is for two histories, the second for one."""
    block = blocks_of(FRAMEWORKS, "Alembic", "python")[number]
    online = f"target_metadata = metadata\n{block.text}"
    host = HostApplication(tmp_path, empty_database_url, online=online)
    if number == 1:
        (ini,) = blocks_of(FRAMEWORKS, "Alembic", "ini")
        # In a wheel the revisions are inside of the package.
        locations = ini.text.replace("pgqueue:migrations", str(schema.script_location()))
        (tmp_path / "alembic.ini").write_text(f"[alembic]\nscript_location = %(here)s\n{locations}")
    if number == 0:
        schema.upgrade(empty_database_url)
    host.alembic("upgrade", "heads")
    host.alembic("check")
    assert schema.current(empty_database_url) == schema.head()
