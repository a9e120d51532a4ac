"""The page about frameworks says what is so: its examples run."""

from pathlib import Path

import pytest

from pgqueue import schema
from tests.integrations.host import HostApplication

from .pages import blocks_of, page, sections

FRAMEWORKS = page("frameworks.md")


def test_every_section_is_in_the_contents() -> None:
    text = FRAMEWORKS.read_text()
    assert [
        title for title in sections(FRAMEWORKS) if f"(#{title.lower().replace(' ', '-')})" not in text
    ] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_what_is_told_to_alembic_works(number: int, tmp_path: Path, empty_database_url: str) -> None:
    """The first example is for two histories, the second for one."""
    block = blocks_of(FRAMEWORKS, "Alembic", "python")[number]
    online = f"target_metadata = metadata\n{block.text}"
    host = HostApplication(tmp_path, empty_database_url, online=online, shared=number == 1)
    if number == 0:
        schema.upgrade(empty_database_url)
    host.alembic("upgrade", "heads")
    host.alembic("check")
    assert schema.current(empty_database_url) == schema.head()
