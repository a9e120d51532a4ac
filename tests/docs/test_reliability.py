"""The page on reliability knows all drills, and its commands and links lead somewhere."""

import re

from tests.support.processes import ROOT

from .pages import page

RELIABILITY = page("reliability.md")


def test_every_drill_is_told_of() -> None:
    text = RELIABILITY.read_text()
    drills = {path.name for path in (ROOT / "tests" / "drills").glob("test_*.py")}
    assert {name for name in drills if name not in text} == set()
    told = set(re.findall(r"`(?:tests/drills/)?(test_\w+\.py)`", text[text.index("## The drills") :]))
    assert told <= drills


def test_every_promise_has_a_test_and_every_test_of_one_its_promise() -> None:
    table = RELIABILITY.read_text().partition("## The promises")[2].partition("## The drills")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    told = [re.findall(r"`([\w/]*test_\w+\.py)`", row) for row in rows]
    assert all(told), "a promise has no test"
    tests = ROOT / "tests"
    guarantees = {path.name for path in (tests / "guarantees").glob("test_*.py")}
    named = {name for names in told for name in names}
    assert guarantees == {name for name in named if "/" not in name}
    assert [name for name in named if "/" in name and not (tests / name).exists()] == []


def test_its_links_lead_to_pages_that_exist() -> None:
    links = re.findall(r"\]\(([\w-]+\.md)", RELIABILITY.read_text())
    assert [link for link in links if not (RELIABILITY.parent / link).exists()] == []
