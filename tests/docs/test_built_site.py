"""The site as `make docs` builds it: links lead somewhere, other hosts are not asked, search works from the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By

from tests.support.chromium import NO_CHROMIUM, chromium
from tests.support.eventually import eventually
from tests.support.processes import ROOT
from tests.support.shared import made_once

from .built import foreign, nowhere, references

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "site", build)


def build(directory: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium("performance") as driver:
        yield driver


@pytest.mark.long
def test_every_address_leads_somewhere_and_none_to_another_host(site: Path) -> None:
    found = references(site)
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} <= {each.page.stem for each in found}
    assert [each for each in found if foreign(each)] == []
    assert [each for each in found if nowhere(each, site)] == []


def test_an_address_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text('<h1 id="place"></h1>')
    (tmp_path / "page.html").write_text(
        '<a href="there.html#place"><a href="there.html#none"><a href="gone.html"><a href="https://example.com">'
        '<a href="#none"><img src="data:,"><script src="//example.com/x.js"></script>'
    )
    (tmp_path / "page.css").write_text("@import 'https://example.com/x.css'; a { background: url(gone.png) }")
    found = references(tmp_path)
    assert [each.address for each in found if nowhere(each, tmp_path)] == [
        "there.html#none", "gone.html", "#none", "gone.png",
    ]  # fmt: skip
    assert [each.address for each in found if foreign(each)] == [
        "//example.com/x.js", "https://example.com/x.css",
    ]  # fmt: skip


@NO_CHROMIUM
@pytest.mark.long
def test_search_works_from_the_disk_and_a_phone_shows_whole_lines(site: Path, browser: Any) -> None:
    browser.get(f"{site.as_uri()}/index.html")
    field = browser.find_element(By.CSS_SELECTOR, "input.md-search__input")
    browser.execute_script("arguments[0].focus()", field)
    field.send_keys("greenlets")

    def found() -> None:
        links = browser.find_elements(By.CSS_SELECTOR, ".md-search-result__link")
        assert "scaling.html" in " ".join(str(link.get_attribute("href")) for link in links)

    eventually(found, within_s=30)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    for name in ("index", "dashboard", "reference", "contract"):
        browser.get(f"{site.as_uri()}/{name}.html")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"], name
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith((f"{site.as_uri()}/", "data:"))] == []
    assert browser.get_log("browser") == []
