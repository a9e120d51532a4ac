"""Who may come in, who may act, and what browsers are told."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest
from httpx import Response

from pgqueue.dashboard import asgi, wsgi
from pgqueue.dashboard.guard import POLICY, TOKEN_COOKIE
from pgqueue.dashboard.settings import Settings
from tests.support.processes import ROOT
from tests.support.queue import Queue

from .conftest import Full, Visitor, VisitorOf


def paused(queue: Queue) -> int:
    return int(queue.value("SELECT count(*) FROM pgqueue.pauses"))


def try_to_act(visitor: Visitor) -> Response:
    answer: Response = visitor.act("/queues", kind="queue", name="default", action="pause")
    return answer


def test_every_answer_tells_browsers_to_be_strict(visitor: Visitor) -> None:
    for path in ("/", "/nowhere", "/message", "/static/dashboard.js"):
        headers = visitor.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert visitor.get("/").headers["cache-control"] == "no-store"


def test_pages_hold_nothing_inline_and_nothing_of_another_host(visitor: Visitor, full: Full) -> None:
    for path in ("/", "/queues", "/messages", "/message?id=dead", "/dead", "/workers", "/actors", "/health"):
        page = visitor.get(path).text
        assert "<style" not in page
        assert " style=" not in page
        assert page.count("<script") == page.count("<script src=")
        assert " onclick" not in page
        assert (
            "//"
            not in page.replace("http://www.w3.org/2000/svg", "")
            .replace("'postgresql://", "")
            .split("<main")[0]
        )


class TestForgery:
    @pytest.mark.parametrize(
        ("cookie", "token", "headers"),
        [
            ("a" * 40, None, {}),
            ("a" * 40, "b" * 40, {}),
            (None, "a" * 40, {}),
            ("a" * 40, "\N{SNOWMAN}", {}),
            ("a" * 40, "a" * 40, {"origin": "http://evil.example"}),
            ("a" * 40, "a" * 40, {"origin": "null"}),
            ("short", "short", {}),
        ],
    )
    def test_a_form_without_the_cookies_word_is_refused(
        self, visitor: Visitor, queue: Queue, cookie: str | None, token: str | None, headers: dict[str, str]
    ) -> None:
        fields = {"kind": "queue", "name": "default", "action": "pause"}
        form = fields if token is None else {**fields, "token": token}
        sent = headers if cookie is None else {**headers, "cookie": f"{TOKEN_COOKIE}={cookie}"}
        answer = visitor.post("/queues", data=form, headers=sent)
        assert (answer.status_code, paused(queue)) == (403, 0)
        assert "reload the page" in answer.text

    def test_a_program_sends_the_word_in_a_header(self, visitor: Visitor, queue: Queue) -> None:
        word = "a-word-of-the-programs-own"
        answer = visitor.post(
            "/queues",
            data={"kind": "queue", "name": "default", "action": "pause"},
            headers={"cookie": f"{TOKEN_COOKIE}={word}", "x-csrf-token": word, "accept": "application/json"},
        )
        assert (answer.status_code, answer.json()["changed"], paused(queue)) == (200, True, 1)

    @pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here (Debian: apt-get install curl)")
    def test_the_request_of_the_documentation_is_understood(self, visitor: Visitor, full: Full) -> None:
        text = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
        ((shown, answer),) = re.findall(r"^\$ (curl (?:.*\\\n)*.*)\n(.*)$", text, re.MULTILINE)
        typed = shown.replace("http://127.0.0.1:8417", str(visitor.base_url).rstrip("/")).replace("\\\n", " ")
        words = shlex.split(typed.replace("0b7e0d1c-…", "dead"))
        done = subprocess.run([*words, "--silent"], capture_output=True, text=True, check=True)
        assert done.stdout == answer.replace("0b7e0d1c-…", "dead")
        assert full.queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0

    def test_the_cookie_is_for_no_script_and_no_other_site(self, visitor: Visitor) -> None:
        cookie = visitor.get("/").headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/" in cookie
        assert "set-cookie" not in visitor.get("/").headers  # it is kept


class TestRoles:
    def test_a_viewer_sees_everything_and_changes_nothing(self, visitor_of: VisitorOf, full: Full) -> None:
        for settings in (
            {"role": lambda _: "viewer"},
            {"read_only": True},
            {"read_only": True, "role": lambda _: "operator"},
        ):
            visitor = visitor_of(**settings)
            for path in ("/", "/queues", "/messages", "/dead", "/message?id=dead", "/actors", "/dead/all"):
                page = visitor.get(path)
                assert page.status_code == 200
                assert "<button class=" not in page.text.replace('<button class="quiet', "")
                assert 'method="post" action="/queues"' not in page.text
            assert try_to_act(visitor).status_code == 403
            for path in ("/messages", "/messages/all", "/dead/all"):
                assert visitor.act(path, action="delete", id="dead").status_code == 403
        assert paused(full.queue) == 0
        assert full.queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 1

    def test_passwords_tell_operators_viewers_and_others(self, visitor_of: VisitorOf, queue: Queue) -> None:
        visitor = visitor_of(password="open sésame", viewer_password="look")
        for wrong in (None, ("x", "wrong"), ("open sésame", ""), ("look", "open")):
            answer = visitor.get("/", auth=wrong)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
            assert visitor.get("/static/dashboard.js", auth=wrong).status_code == 401
        for header in ("Basic", "Basic %%%", "Basic bm9jb2xvbg==", "Bearer open", "Basic /w=="):
            assert visitor.get("/", headers={"authorization": header}).status_code == 401
        visitor.auth = ("anybody", "look")
        assert visitor.get("/").status_code == 200
        assert try_to_act(visitor).status_code == 403
        visitor.auth = ("anybody", "open sésame")
        assert try_to_act(visitor).status_code == 200
        assert paused(queue) == 1

    @pytest.mark.parametrize("blank", ["", " "])
    def test_a_blank_password_is_refused(self, database_url: str, blank: str) -> None:
        make: Any
        for make in (asgi, wsgi):
            with pytest.raises(ValueError, match="The dashboard's password is blank"):
                make(database_url, password=blank, viewer_password="look")
            with pytest.raises(ValueError, match="The dashboard's viewer_password is blank"):
                make(database_url, password="open", viewer_password=blank)

    def test_with_none_but_viewers_passwords_nobody_acts(self, visitor_of: VisitorOf, queue: Queue) -> None:
        visitor = visitor_of(viewer_password="look")
        assert visitor.get("/queues", auth=("", "")).status_code == 401
        visitor.auth = ("", "look")
        assert visitor.get("/queues").status_code == 200
        assert try_to_act(visitor).status_code == 403
        assert paused(queue) == 0

    def test_settings_show_no_password(self, queue: Queue) -> None:
        shown = repr(Settings(queue.database, password="sesame", viewer_password="look"))
        assert "sesame" not in shown
        assert "look" not in shown

    def test_a_program_says_who_somebody_is(self, visitor_of: VisitorOf, queue: Queue) -> None:
        visitor = visitor_of(role=lambda request: request.headers.get("x-role"))
        assert visitor.get("/").status_code == 403
        assert visitor.get("/", headers={"x-role": "viewer"}).status_code == 200
        visitor.headers["x-role"] = "operator"
        assert try_to_act(visitor).status_code == 200

    def test_nobody_forgets_to_say_who_may_come_in(self, database_url: str) -> None:
        make: Any
        for make in (asgi, wsgi):
            with pytest.raises(ValueError, match="Say who may use the dashboard"):
                make(database_url)

    def test_a_target_without_a_database_is_refused(self) -> None:
        with pytest.raises(TypeError, match="not int"):
            asgi(1, read_only=True)  # type: ignore[arg-type]  # that is the point


class TestHosts:
    def test_a_page_elsewhere_can_not_point_its_name_at_us(self, visitor_of: VisitorOf) -> None:
        visitor = visitor_of(hosts={"127.0.0.1", "[::1]", "localhost"})
        for host in ("127.0.0.1", "127.0.0.1:8417", "LOCALHOST:1", "[::1]", "[::1]:8417"):
            assert visitor.get("/health", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "evil.example:8417", "127.0.0.1.evil.example", "[::1].evil:1", ""):
            answer = visitor.get("/health", headers={"host": host})
            assert answer.status_code == 421, host
            assert "localhost" in answer.text
