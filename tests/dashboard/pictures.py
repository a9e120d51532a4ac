"""Takes the pictures of the documentation anew: `make pictures`, which needs Chromium and six minutes.

A small shop (`shop.py`) runs on a server of its own, with processes that work, are quiet and stop, a queue that is
paused, one with a limit, and a session that others wait for. Every page is then taken at two sizes of screen; those
that the documentation shows go to docs/images, all of them to the directory that is given as an argument.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import psycopg
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from pgqueue import embedded, schema
from pgqueue.dashboard import asgi
from tests.support.processes import ROOT
from tests.support.serving import served

#: Pillow, which `make pictures` brings along.
Image: Any = importlib.import_module("PIL.Image")

#: For how long the shop runs before: the charts of the overview show five minutes.
SECONDS = 330.0

DESK, PHONE = (1280, 900), (390, 844)


@dataclass(frozen=True, slots=True)
class Picture:
    """A page at a size of screen; what is ``shown`` in the documentation is kept there."""

    name: str
    path: str
    height: int = 900
    phone: bool = False
    dark: bool = False
    shown: bool = True


def _pictures(messages: dict[str, str]) -> Iterator[Picture]:
    failed, waiting = f"/message?id={messages['failed']}", f"/message?id={messages['waiting']}"
    yield Picture("workers", "/workers", 560)
    yield Picture("phone-workers", "/workers", 844, phone=True)
    yield Picture("overview", "/?window=5m")
    yield Picture("queues-dark", "/queues?window=5m", 660, dark=True)
    yield Picture("messages", "/messages?state=live&state=done", 700)
    yield Picture("message", failed, 800)
    yield Picture("message-waits", waiting, 640)
    yield Picture("dead", "/dead", 800)
    yield Picture("actors", "/actors", shown=False)
    yield Picture("health", "/health")
    yield Picture("phone", "/?window=5m", 844, phone=True)
    yield Picture("phone-message", waiting, 844, phone=True)
    for name, path in {
        "queues": "/queues", "messages": "/messages", "failed": failed, "dead": "/dead", "actors": "/actors",
        "health": "/health",
    }.items():  # fmt: skip
        yield Picture(f"phone-{name}", path, 844, phone=True, shown=False)


def main(directory: Path, seconds: float) -> None:
    """Run the shop, and take the pictures."""
    with embedded.start(temporary=True) as server, ExitStack() as stack:
        environment = {**os.environ, "PGQUEUE_URL": server.url}
        schema.upgrade(server.url)
        _control(environment, "queues", "pause", "exports")
        _control(environment, "queues", "limit", "reports", "3")
        for arguments in (["-p", "2"], ["-Q", "mail", "images", "-p", "1"]):
            stack.enter_context(_workers(environment, *arguments))
        address = stack.enter_context(served(asgi(server.url, role=lambda _: "operator")))
        sender = stack.enter_context(_program(environment, "-c", _SENDING.format(seconds=seconds + 60)))
        _watch(address, seconds)
        stack.enter_context(_lock_wait(server.url))
        time.sleep(7.0)  # what waits longer than five seconds is warned of
        _give_orders(environment)
        with _chromium() as driver:
            for picture in _pictures(_messages(address)):
                _take(driver, address, picture, directory)
        sender.kill()


_SENDING = "from tests.dashboard.shop import traffic; traffic({seconds})"


def _watch(address: str, seconds: float) -> None:
    """Ask for a page now and then, so that the depth is looked at."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        _json(address, "/overview.json")
        time.sleep(min(5.0, seconds))


def _give_orders(environment: dict[str, str]) -> None:
    """Have the process of mail and images go quiet, and the one that has begun a report last stop."""
    found = json.loads(_control(environment, "workers", "--json"))["workers"]
    quiet = next(each for each in found if "reports" not in each["queues"])
    stopping = max(found, key=lambda each: max((run["since"] for run in each["running"]), default=""))
    _control(environment, "workers", "quiet", quiet["id"])
    _control(environment, "workers", "stop", stopping["id"])


def _messages(address: str) -> dict[str, str]:
    """The ids of a message that has failed at more than one attempt, and of one that waits for a place of its queue."""
    dead = _json(address, "/dead.json", actor="charge_card")["letters"]
    waiting = _json(address, "/messages.json", state="queued", queue="reports")["messages"]
    return {"failed": dead[0]["message_id"], "waiting": waiting[-1]["message_id"]}


def _json(address: str, path: str, **parameters: str) -> Any:
    request = Request(f"{address}{path}?{urlencode(parameters)}")  # noqa: S310 - our own server
    with urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def _control(environment: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "pgqueue", *words]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@contextmanager
def _program(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    program = subprocess.Popen(
        [sys.executable, *arguments], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )  # fmt: skip
    try:
        yield program
    finally:
        program.terminate()
        program.wait(60)


@contextmanager
def _workers(environment: dict[str, str], *arguments: str) -> Iterator[None]:
    options = ["-t", "4", "--worker-shutdown-timeout", "25000", *arguments]
    with _program(environment, "-m", "pgqueue", "tests.dashboard.shop", *options):
        yield


@contextmanager
def _lock_wait(url: str) -> Iterator[None]:
    """One session keeps a table for reading, another waits to rewrite it."""
    with psycopg.connect(url, application_name="pg_dump") as reader:
        reader.execute("LOCK TABLE pgqueue.rate_limits IN ACCESS SHARE MODE")
        waiting = subprocess.Popen([sys.executable, "-c", _CHANGING, url])
        try:
            yield
        finally:
            reader.rollback()
            waiting.wait(30)


_CHANGING = """
import sys, psycopg
with psycopg.connect(sys.argv[1], application_name="psql", autocommit=True) as connection:
    connection.execute("VACUUM FULL pgqueue.rate_limits")
"""


@contextmanager
def _chromium() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "hide-scrollbars"):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def _take(driver: Any, address: str, picture: Picture, directory: Path) -> None:
    width = (PHONE if picture.phone else DESK)[0]
    size = {"width": width, "height": picture.height, "deviceScaleFactor": 1, "mobile": picture.phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if picture.dark else "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    driver.get(f"{address}{picture.path}")
    time.sleep(1.0)  # for the charts
    # Tracebacks have paths of this machine.
    driver.execute_script(
        "for (const each of document.querySelectorAll('.attempt details')) each.open = false"
    )
    target = directory / f"{picture.name}.png"
    driver.save_screenshot(str(target))
    # A page has few colours: with a palette it is a third as large.
    Image.open(target).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)
    if picture.shown:
        shutil.copy(target, ROOT / "docs/images")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else SECONDS)
    else:
        with TemporaryDirectory() as unseen:
            main(Path(unseen), SECONDS)
