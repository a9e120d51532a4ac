"""The page on reliability knows all drills, and its commands and links lead somewhere."""

import re

from tests.support.processes import ROOT

from .pages import page

RELIABILITY = page("reliability.md")


def test_every_drill_is_told_of() -> None:
    text = RELIABILITY.read_text()
    drills = {path.name for path in (ROOT / "tests" / "drills").glob("test_*.py")}
    assert {name for name in drills if name not in text} == set()
    told = set(re.findall(r"`(?:tests/drills/)?(test_\w+\.py)`", text))
    assert told <= drills


def test_its_links_lead_to_pages_that_exist() -> None:
    links = re.findall(r"\]\(([\w-]+\.md)", RELIABILITY.read_text())
    assert [link for link in links if not (RELIABILITY.parent / link).exists()] == []
