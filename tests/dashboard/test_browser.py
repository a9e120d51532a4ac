"""The dashboard in a real Chromium: charts, live updates, actions, shortcuts, two sizes of screen, dark and light."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.chromium import NO_CHROMIUM, chromium
from tests.support.crowd import crowd
from tests.support.eventually import eventually
from tests.support.queue import Queue

from .conftest import Full, VisitorOf, encoded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), NO_CHROMIUM]

DESK, PHONE = (1280, 900), (390, 844)


class Browser:
    """A Chromium that looks at one dashboard."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, path: str = "/") -> None:
        """Go to a page."""
        self.driver.get(f"{self.address}{path}")

    def resize(self, size: tuple[int, int], *, scheme: str = "light") -> None:
        """Become a screen of a size, with a preference for dark or light."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def text(self, selector: str) -> str:
        """What an element says."""
        found: str = self.driver.find_element(By.CSS_SELECTOR, selector).text
        return found

    def says(self, selector: str, text: str) -> None:
        """Wait until an element says something."""

        def look() -> None:
            try:
                found = [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, selector)]
            except StaleElementReferenceException:
                found = []  # it was just being replaced
            assert any(text in each for each in found), found

        eventually(look, within_s=20)

    def click(self, selector: str) -> None:
        """Press something, which may just be replaced by an update."""

        def press() -> bool:
            try:
                self.driver.find_element(By.CSS_SELECTOR, selector).click()
            except StaleElementReferenceException:
                return False
            return True

        eventually(lambda: _assert(press()))

    def press(self, *keys: str) -> None:
        """Press keys on the page."""
        self.driver.find_element(By.TAG_NAME, "body").send_keys(*keys)

    def problems(self) -> list[str]:
        """What the browser has complained of: scripts that broke, styles that the policy forbade."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def value(self, script: str) -> Any:
        """What a script returns."""
        return self.driver.execute_script(f"return {script}")


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """One Chromium for all tests of the file."""
    with chromium() as started:
        yield started


@pytest.fixture
def browser(driver: Any, visitor_of: VisitorOf) -> Iterator[Browser]:
    """A browser at the test's dashboard, as an operator."""
    opened = Browser(driver, str(visitor_of().base_url).rstrip("/"))
    opened.resize(DESK)
    yield opened
    driver.get("about:blank")
    driver.delete_all_cookies()


PAGES = [
    "/",
    "/queues",
    "/messages",
    "/message?id=dead",
    "/dead",
    "/dead/all",
    "/workers",
    "/actors",
    "/health",
]


def test_every_page_fits_both_screens_and_breaks_no_rule(browser: Browser, full: Full) -> None:
    # Times that are as long as times get.
    full.queue.conn.execute("UPDATE pgqueue.outcomes SET wait_ms = 8_130_000, run_ms = 8_130_000")
    cut = "[...document.querySelectorAll('.scroll')].filter((each) => each.scrollWidth > each.clientWidth).length"
    for size in (DESK, PHONE):
        browser.resize(size)
        for path in PAGES:
            browser.open(path)
            width, room = browser.value("[document.documentElement.scrollWidth, window.innerWidth]")
            assert width <= room, (path, size)
            assert size == PHONE or browser.value(cut) == 0, path
            edge = browser.value(
                "document.querySelector('.top nav [aria-current]').getBoundingClientRect().right"
            )
            assert edge <= room, (path, size)
    assert browser.problems() == []


def test_charts_have_data_and_pages_update_themselves(browser: Browser, full: Full) -> None:
    browser.open("/")
    points = "document.querySelector('[data-chart=ended]').dataset.points"
    eventually(lambda: _assert(browser.value(points) == "60"))
    canvas = "document.querySelector('[data-chart=ended] canvas')"
    drawn = (
        f"(() => {{ const c = {canvas}; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; "
        "for (let i = 3; i < d.length; i += 4) if (d[i]) return true; return false; })()"
    )
    assert browser.value(drawn)
    assert (
        browser.value("document.querySelector('[data-chart=ended] .u-series .u-value').textContent").count(
            ":"
        )
        == 2
    )
    browser.says(".tile.ready b", "2")
    full.queue.send_all([full.queue.new(encoded("actor", message_id="new"), message_id="new")])
    browser.says(".tile.ready b", "3")
    assert browser.value(drawn)
    browser.open("/messages?state=queued")
    full.queue.send_all([full.queue.new(encoded("actor", message_id="newer"), message_id="newer")])
    browser.says(".messages .id", "newer")
    assert browser.problems() == []


def test_messages_are_chosen_and_acted_on(browser: Browser, full: Full) -> None:
    browser.open("/messages")
    assert browser.value("document.querySelector('button[value=cancel]').disabled")
    browser.click("input[value=queued]")
    browser.click("input[value=scheduled]")
    assert browser.text("#chosen") == "On the 2 chosen:"
    browser.says("#live-state", "waiting")  # a list in which one chooses stays as it is
    browser.click("button[value=delete]")
    browser.driver.switch_to.alert.dismiss()
    assert browser.text("#chosen") == "On the 2 chosen:"
    browser.click("button[value=delete]")
    browser.driver.switch_to.alert.accept()
    browser.says(".said", "2 of 2 messages: deleted.")
    browser.open("/message?id=dead")
    browser.click("#act-requeue")
    browser.says(".said", "dead: requeued.")
    browser.says("h1 .badge", "queued")
    browser.open("/queues")
    browser.click("#steer-default")
    browser.says(".said", "Queue default is paused now.")
    browser.says("td .badge", "paused")


def test_all_that_match_go_step_by_step_by_themselves(
    browser: Browser, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.operations.acting.BATCH", 400)
    monkeypatch.setattr("pgqueue.dashboard.pages.all_that_match.STEP_S", 0.0)
    crowd(queue, dead=1_000)
    browser.open("/dead/all?action=purge")
    browser.click("#confirm")
    browser.says(".said", "1,000 dead letters deleted for good.")
    assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0


def test_the_keyboard_and_the_theme(browser: Browser, full: Full) -> None:
    browser.open("/")
    browser.press("g", "q")
    browser.says("h1", "Queues")
    browser.press("/")
    assert browser.value("document.activeElement.id") == "find"
    browser.driver.switch_to.active_element.send_keys("dead", Keys.ENTER)
    browser.says("#message-id", "dead")
    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.value(background)
    browser.press("t")
    assert browser.value(background) != light
    browser.open("/queues")
    assert browser.value("document.documentElement.dataset.theme") == "dark"
    browser.resize(DESK, scheme="dark")
    browser.press("t")
    assert browser.value(background) == light


def _assert(fact: object) -> None:
    assert fact
