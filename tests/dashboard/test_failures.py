"""A database that is down, too old or slow, and faults of ours: a page that says so, never a traceback."""

from __future__ import annotations

import logging

import pytest

from pgqueue import schema
from pgqueue.dashboard.history import History
from pgqueue.dashboard.pages import PAGES
from pgqueue.operations import pace
from pgqueue.storage import database
from pgqueue.storage.database import Database
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.queue import Queue

from .conftest import Full, VisitorOf


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/nothing?connect_timeout=2", "host=/nowhere dbname=x password=sesame"]
)
def test_a_server_that_is_down_is_named_without_its_password(visitor_of: VisitorOf, url: str) -> None:
    visitor = visitor_of(url)
    for path in sorted(PAGES):
        answer = visitor.get(path, params={"id": "1"} if path == "/message" else {})
        assert answer.status_code == 503, path
        assert "The database does not answer" in answer.text or path == "/health"
        assert "Traceback" not in answer.text
        assert "sesame" not in answer.text
    assert visitor.get("/queues.json").json()["status"] == 503
    assert visitor.act("/queues", kind="queue", name="x", action="pause").status_code == 503
    checks = visitor.get("/health.json").json()["checks"]
    assert [(check["name"], check["verdict"]) for check in checks] == [("reachable", "failure")]


def test_a_database_without_our_schema_says_what_to_run(
    visitor_of: VisitorOf, empty_database_url: str
) -> None:
    visitor = visitor_of(empty_database_url)
    answer = visitor.get("/")
    assert answer.status_code == 503
    assert "pgqueue migrate" in answer.text
    assert "pgqueue migrate" in visitor.get("/health").text


@pytest.mark.parametrize("revision", ["pgqueue_0001", "pgqueue_0005", "pgqueue_0008"])
def test_a_schema_that_is_too_old_says_what_to_run_on_every_page(
    visitor_of: VisitorOf, empty_database_url: str, revision: str
) -> None:
    schema.upgrade(empty_database_url, revision=revision)
    visitor = visitor_of(empty_database_url)
    for path in sorted(PAGES):
        answer = visitor.get(path, params={"id": "1"} if path == "/message" else {})
        assert (answer.status_code, "pgqueue migrate" in answer.text) == (
            200 if path == "/health" else 503,
            True,
        ), path
        assert revision in answer.text
    assert visitor.act("/queues", kind="queue", name="x", action="pause").status_code == 503


def test_a_schema_of_a_later_release_is_named_and_its_way_out(visitor_of: VisitorOf, queue: Queue) -> None:
    queue.conn.execute("UPDATE pgqueue.alembic_version SET version_num = 'pgqueue_9999_needs_9998'")
    visitor = visitor_of()
    for path, status in {"/": 503, "/queues": 503, "/message?id=1": 503, "/health": 200}.items():
        answer = visitor.get(path)
        assert (answer.status_code, "pgqueue_9999_needs_9998" in answer.text) == (status, True), path
        assert "Traceback" not in answer.text


def test_a_statement_that_takes_too_long_is_said(
    visitor_of: VisitorOf, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitor_of()
    with monkeypatch.context() as impatient, queue.connect() as blocking:
        impatient.setattr(database, "STATEMENT_TIMEOUT_S", 0.1)
        blocking.execute("BEGIN")
        blocking.execute("LOCK TABLE pgqueue.dead_letters IN ACCESS EXCLUSIVE MODE")
        answer = visitor.get("/dead")
        blocking.execute("ROLLBACK")
    assert answer.status_code == 503
    assert visitor.get("/dead").status_code == 200


def test_a_fault_of_ours_shows_its_kind_only(
    visitor_of: VisitorOf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = visitor_of()

    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError("sesame")

    monkeypatch.setattr(pace, "measure", break_down)
    answer = visitor.get("/")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.text
    assert "sesame" not in answer.text
    assert "content-security-policy" in answer.headers

    def look() -> None:
        assert any(record.exc_info and "sesame" in str(record.exc_info[1]) for record in caplog.records)

    eventually(look)


def test_the_depth_is_looked_at_while_somebody_watches(
    full: Full, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pgqueue.dashboard.history.INTERVAL_S", 0.01)
    history = History(full.queue.database)
    history.look()
    eventually(lambda: _assert(len(history.looks()) >= 3))
    assert [look.depth("running") for look in history.looks()[:3]] == [1, 1, 1]
    full.queue.conn.execute("ALTER SCHEMA pgqueue RENAME TO elsewhere")
    with caplog.at_level(logging.WARNING):
        eventually(lambda: _assert("Can't look at the queues" in caplog.text))
    full.queue.conn.execute("ALTER SCHEMA elsewhere RENAME TO pgqueue")
    with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
        broken.setattr("pgqueue.operations.overview.look", None)
        eventually(lambda: _assert("TypeError" in caplog.text))
    before = len(history.looks())
    eventually(lambda: _assert(len(history.looks()) > before))
    monkeypatch.setattr("pgqueue.dashboard.history.UNWATCHED_S", -1.0)
    thread = history._thread
    assert thread is not None
    thread.join()
    history.close()


def test_the_rate_of_what_comes_in_is_that_of_two_looks(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.dashboard.history.INTERVAL_S", 3_600)
    history = History(queue.database)
    assert history.rate_in() is None
    monkeypatch.setattr("pgqueue.dashboard.history.INTERVAL_S", 0.0)
    first = history._take()
    queue.send(*["x"] * 50)
    last = history._take()
    assert last.sent - first.sent == 50
    history._looks.clear()
    history._looks.extend([first, type(last)(first.at_s + 10.0, last.sent, last.state)])
    monkeypatch.setattr("time.time", lambda: first.at_s + 10.0)
    assert history.rate_in() == 5.0


def test_importing_the_dashboard_without_its_extra_names_the_command() -> None:
    for missing in ("starlette", "jinja2", "a2wsgi"):
        source = f"""
            import sys
            sys.modules["{missing}"] = None
            import pgqueue.dashboard
        """
        with Process.script(source) as program:
            assert program.wait() == 1
            assert "The dashboard needs an extra: pip install 'pgqueue-engine[dashboard]'" in program.output


def test_a_database_is_opened_by_the_first_request_only() -> None:
    made = Database("postgresql://127.0.0.1:1/nothing")
    History(made)
    assert made._own_pool is None


def _assert(fact: object) -> None:
    assert fact
