"""How long pages of the dashboard, their JSON and the listing commands take beside a queue of millions.

Each is asked for once before it counts, then in rounds; the median counts. Pages travel over HTTP on this machine; a
command runs in this process, without the start of an interpreter. The reference is what the same server takes for a
file that needs no database.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psycopg

from pgqueue import cli
from pgqueue.errors import MissingExtra
from pgqueue.storage import lanes
from pgqueue.storage.database import Database

from .crowd import QUEUE, fill
from .figures import Figure, Report, at_most
from .server import Bench, fresh_schema

__all__ = ["measure"]

#: Milliseconds that a page may take, and that would be good.
BOUND = at_most(200.0, 100.0)

#: What a page can be asked for: its name, and its address below the dashboard's.
PAGES = {
    "overview": "/",
    "queues": "/queues",
    "queues, 12 hours": "/queues?window=12h",
    "messages": "/messages",
    "messages, running": "/messages?state=running",
    "messages, scheduled": "/messages?state=scheduled",
    "messages, done": "/messages?state=done",
    "messages, failed": "/messages?state=failed",
    "messages, 500 of them": "/messages?limit=500",
    "messages, a filter that nothing fits": "/messages?state=queued&actor=nobody",
    "messages, a filter that all fit": "/messages?state=queued&queue=bulk&since=1d",
    "messages, scheduled, nothing fits": "/messages?state=scheduled&since=2100-01-01",
    "messages, ended, nothing fits": "/messages?state=done&actor=nobody",
    "messages, an error that none has": "/messages?state=failed&error=nothing+like+it",
    "messages, an error that all have": "/messages?state=failed&error=ValueError",
    "search that finds nothing": "/messages?search=nothing+like+it",
    "search that finds all": "/messages?search=actor",
    "search among failed ones, nothing": "/messages?state=failed&search=nothing+like+it",
    "search among done ones, nothing": "/messages?state=done&search=nothing+like+it",
    "search among scheduled ones, nothing": "/messages?state=scheduled&search=nothing+like+it",
    "a message that waits": "/message?id={ready}",
    "a message that died, with attempts": "/message?id={dead}",
    "a message that is done": "/message?id={done}",
    "a message that is not there": "/message?id=00000000-0000-0000-0000-000000000000",
    "dead letters": "/dead",
    "dead letters, an actor's": "/dead?actor=actor_7",
    "dead letters, nothing fits": "/dead?actor=nobody",
    "dead letters, an error that none has": "/dead?error=nothing+like+it",
    "requeue all: preview": "/dead/all?action=requeue",
    "requeue all: preview, nothing fits": "/dead/all?action=requeue&error=nothing+like+it",
    "delete all: preview": "/messages/all?action=delete&queue=bulk",
    "delete all: preview, nothing fits": "/messages/all?action=delete&actor=nobody",
    "delete all found: preview, nothing": "/messages/all?action=delete&search=nothing+like+it",
    "workers": "/workers",
    "actors": "/actors",
    "actors, 12 hours": "/actors?window=12h",
    "health": "/health",
}

#: The listing commands, by what they are called with.
COMMANDS = (
    "queues",
    "messages",
    "messages --state scheduled",
    "messages --state done",
    "messages --state failed",
    "messages --actor nobody",
    "messages --search nothing",
    "messages --search actor",
    "messages --state failed --search nothing",
    "messages show {ready}",
    "messages show {dead}",
    "dead",
    "dead list",
    "dead list --error nothing",
    "dead show {dead}",
    "workers",
    "why {ready}",
    "doctor",
    "top --count 1",
)


def measure(bench: Bench) -> Report:
    """With 100,000 messages that wait, or 5,000,000 with ``--full``; scheduled, ended and dead ones beside them.

    Raises:
      MissingExtra: The dashboard's libraries are not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("uvicorn", "jinja2")):
        raise MissingExtra("dashboard", "Measuring the dashboard")
    ready = bench.large(100_000, 5_000_000, least=1_000)
    with fresh_schema(bench.url) as schema:
        numbers = _fill(bench.url, schema, ready)
        ids = _ids(bench.url)
        with _served(bench.url, schema) as address:
            figures = list(_pages(address, ids, bench.rounds))
        figures += _commands(bench.url, schema, ids, bench.rounds)
    beside = ", ".join(f"{number:,} {name}" for name, number in numbers.items())
    return Report([_with_crowd(figure, beside) for figure in figures])


def _with_crowd(figure: Figure, beside: str) -> Figure:
    return Figure(
        figure.name, f"{figure.what}, beside {beside}", figure.value, figure.unit, figure.reference, figure.against,
        figure.target, figure.ratio,
    )  # fmt: skip


def _fill(url: str, schema: str, ready: int) -> dict[str, int]:
    numbers = {
        "ready": ready,
        "scheduled": ready // 25,
        "dead": ready // 50,
        "ended": ready // 5,
        "attempts": ready // 25,
    }
    with closing(Database(url, schema=schema)) as database, database.connection() as conn:
        lanes.add_lanes(conn, database.statements, lanes=[(QUEUE, 0)])
        (lane,) = (lane.id for lane in lanes.list_lanes(conn, database.statements))
    fill(url, schema=schema, lane=lane, ended_within_s=3_600.0, **numbers)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
    return numbers


def _ids(url: str) -> dict[str, str]:
    """A message that waits, one that has died and one that is done, by the ids that `fill` gives."""
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT md5('777')::uuid, md5('d7')::uuid, md5('e777')::uuid").fetchone()
    assert row is not None  # a SELECT without FROM
    return dict(zip(("ready", "dead", "done"), map(str, row), strict=True))


# ── Pages ─────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _served(url: str, schema: str) -> Iterator[str]:
    """A dashboard on a port of this machine."""
    # Here, for the other measurements do without the extra.
    import uvicorn  # noqa: PLC0415

    from pgqueue.dashboard import asgi  # noqa: PLC0415

    app = asgi(url, schema=schema, read_only=False, role=lambda _: "operator")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            # It looks at the queues until the program ends, or nobody has asked for a while.
            logging.getLogger("pgqueue.dashboard").setLevel(logging.CRITICAL)


def _pages(address: str, ids: dict[str, str], rounds: int) -> Iterator[Figure]:
    def ask(path: str) -> None:
        connection = HTTPConnection(address, timeout=60)
        connection.request("GET", path.format(**ids))
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status not in {200, 404}:
            raise RuntimeError(f"{path} answers {answer.status}")

    floor = _median_ms(lambda: ask("/static/icon.svg"), rounds)
    for what, path in PAGES.items():
        page, query = urlsplit(path).path, urlsplit(path).query
        json = ("/overview" if page == "/" else page) + ".json" + (f"?{query}" if query else "")
        for kind, one in (("page", path), ("JSON", json)):
            took = _median_ms(lambda one=one: ask(one), rounds)  # type: ignore[misc]
            yield Figure(
                f"dashboard.{kind.lower()}.{path}", f"{kind}: {what}", took, "ms", floor, "a file of the same server",
                BOUND,
            )  # fmt: skip


def _commands(url: str, schema: str, ids: dict[str, str], rounds: int) -> Iterator[Figure]:
    def call(command: str) -> None:
        words = [*command.format(**ids).split(), "--url", url, "--schema", schema]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            cli.main(words)

    floor = _median_ms(lambda: psycopg.connect(url).close(), rounds)
    for command in COMMANDS:
        took = _median_ms(lambda command=command: call(command), rounds)  # type: ignore[misc]
        yield Figure(
            f"dashboard.cli.{command}", f"pgqueue {command}", took, "ms", floor, "a connection to the server"
        )


def _median_ms(act: Callable[[], object], rounds: int) -> float:
    act()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)
