"""What the pages of the built site refer to, and what of that is not there or comes from another host."""

import re
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Reference", "foreign", "nowhere", "references"]

#: Elements whose address is followed when somebody chooses to, not when the page is seen.
LINKS = {"a", "meta"}

#: Addresses of no file.
NO_FILES = {"data", "mailto"}


@dataclass(frozen=True, slots=True)
class Reference:
    """An address in a page, and the element that has it."""

    page: Path
    element: str
    address: str


@dataclass
class _Page(HTMLParser):
    """The addresses of a page and the places in it."""

    addresses: list[tuple[str, str]] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.places |= {named[name] or "" for name in ("id", "name") if name in named}
        self.addresses += [(tag, named[name] or "") for name in ("href", "src", "poster") if named.get(name)]


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page


def references(site: Path) -> list[Reference]:
    """Every address that a page or a style sheet has."""
    found = [
        Reference(path, element, address)
        for path in sorted(site.rglob("*.html"))
        for element, address in _read(path).addresses
    ]
    for path in sorted(site.rglob("*.css")):
        text = path.read_text()
        asked = re.findall(r"url\(\s*[\"']?([^\"')]+)", text) + re.findall(r"@import\s+[\"']([^\"']+)", text)
        found += [Reference(path, "style", address) for address in asked]
    return found


def foreign(reference: Reference) -> bool:
    """Whether a browser that shows the page would ask another host."""
    return bool(urlsplit(reference.address).netloc) and reference.element not in LINKS


def nowhere(reference: Reference, site: Path) -> bool:
    """Whether an address within the site leads to no file, or to no place in its page."""
    parts = urlsplit(reference.address)
    if parts.netloc or parts.scheme in NO_FILES:
        return False
    target = reference.page
    if parts.path.startswith("/"):  # the page for wrong addresses may be shown below any
        target = site / unquote(parts.path[1:])
    elif parts.path:
        target = reference.page.parent / unquote(parts.path)
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return True
    place = unquote(parts.fragment)
    return bool(place) and target.suffix == ".html" and place not in _read(target.resolve()).places
