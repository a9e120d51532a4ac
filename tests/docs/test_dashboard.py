"""The page of the dashboard says what is so: its pictures are there and small, its pages, options and keys exist."""

import re

from pgqueue.dashboard.pages import PAGES
from tests.support.processes import ROOT, Process

DOCS = ROOT / "docs"
TEXT = (DOCS / "dashboard.md").read_text(encoding="utf-8")

#: The most bytes of a picture.
LARGEST = 200_000


def test_pictures_are_there_and_small() -> None:
    shown = set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT))
    shown |= {
        f"../{name}"
        for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    }
    assert len(shown) >= 6
    for name in shown:
        picture = (DOCS / name).resolve().read_bytes()
        assert picture.startswith(b"\x89PNG"), name
        assert len(picture) < LARGEST, name
    kept = {path.name for path in (DOCS / "images").iterdir()}
    assert kept == {name.rpartition("/")[2] for name in shown}


def test_every_page_is_named() -> None:
    table = TEXT.partition("| page | shows |")[2].partition("\n\n")[0]
    named = {row.split("|")[1].strip().lower() for row in table.splitlines() if row.startswith("| ")}
    pages = {path.strip("/").partition("/")[0] for path in PAGES}
    titles = {"": "overview", "dead": "dead letters", "message": "a message"}
    assert named == {titles.get(name, name) for name in pages}


def test_every_option_of_the_command_exists() -> None:
    with Process(["-m", "pgqueue", "dashboard", "--help"]) as program:
        assert program.wait() == 0
        others = re.compile(
            r"`(?:make|pgqueue (?!dashboard))[^`]*`"
        )  # other commands, with their own options
        for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", others.sub("", TEXT))):
            assert option in program.output, option
