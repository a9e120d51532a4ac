"""No message, and no request, breaks a page: whatever somebody has written, everybody else sees theirs."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import socket
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from httpx import Client
from starlette.applications import Starlette
from starlette.routing import Mount

from pgqueue.dashboard import application
from pgqueue.dashboard.endpoint import SAID_COOKIE
from pgqueue.dashboard.guard import TOKEN_COOKIE
from pgqueue.dashboard.pages import PAGES
from pgqueue.dashboard.words import LONGEST, pretty
from pgqueue.encoder import JSONEncoder, PickleEncoder, set_encoder
from pgqueue.message import Message
from pgqueue.storage import results
from pgqueue.storage.results import StoredResult
from tests.support.hostile import HOSTILE, put_all, strict
from tests.support.queue import Queue
from tests.support.serving import served

from .conftest import Visitor, VisitorOf

#: Pages in all their forms; that of a message is asked for by each id.
ADDRESSES = [
    *sorted(set(PAGES) - {"/message"}),
    "/messages?state=queued&limit=500",
    "/messages?state=scheduled&limit=500",
    "/messages?search=x",
    "/messages?search=%1b",
    "/messages?state=failed&error=x",
    "/messages/all?action=delete&search=x",
    "/dead?error=x",
    "/dead?error=a%3Ab",
    "/dead/all?action=purge&error=x",
]


def see(visitor: Visitor, address: str) -> None:
    """Ask for a page, and for its JSON."""
    page = visitor.get(address)
    assert page.status_code < 500, address
    assert "<script>alert" not in page.text
    path, _, query = address.partition("?")
    data = visitor.get(f"{'/overview' if path == '/' else path}.json?{query}")
    assert data.status_code < 500, address
    strict(data.text)


@pytest.mark.parametrize("redact", [[], ["x", "hidden"]])
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.timeout(240)
def test_pages_show_hostile_messages(
    visitor_of: VisitorOf, queue: Queue, redact: list[str], step: int
) -> None:
    ids = put_all(queue)
    assert len(ids) == (len(HOSTILE) - 1) * 6 + 1
    visitor = visitor_of(redact=redact)
    for address in ADDRESSES:
        see(visitor, address)
    for id_ in ids[::step]:
        see(visitor, f"/message?id={id_}")


class Mute:
    """An object that can be pickled, and not shown."""

    def __str__(self) -> str:
        raise RuntimeError("nothing to say")

    __repr__ = __str__


class Mean(Exception):
    """An error that fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


def fail_meanly() -> None:
    raise Mean


class Unreadable:
    """An object that can be pickled, and raises when it is to be made again."""

    def __reduce__(self) -> Any:
        return fail_meanly, ()


@pytest.fixture
def pickled() -> Iterator[None]:
    set_encoder(PickleEncoder())
    yield
    set_encoder(JSONEncoder())


@pytest.mark.usefixtures("pickled")
def test_what_only_pickle_carries_breaks_no_page(visitor_of: VisitorOf, queue: Queue) -> None:
    deep: Any = 1
    for _ in range(300):
        deep = (deep,)
    values = [Mute(), deep, {Mute(): 1, ("t",): 2}, {1, "a"}, range(10**12), 10**5_000, b"\xff", 1j, Mute]
    visitor = visitor_of(redact="hidden")
    for number, value in enumerate(values):
        message: Message[None] = Message(
            "default",
            "actor",
            (value,),
            {},
            {"retries": 10**5_000, "traceback": value},
            message_id=f"m{number}",
        )
        queue.send_all([queue.new(message.encode(), message_id=f"m{number}")])
        see(visitor, f"/message?id=m{number}")
    queue.send_all([queue.new(pickle.dumps(Unreadable()), message_id="unreadable")])
    see(visitor, "/message?id=unreadable")
    for junk in (b"junk", b"", pickle.dumps(Unreadable()), b"\x80\x04cnope\nX\n.", pickle.dumps(Mute())):
        queue.conn.execute("DELETE FROM pgqueue.results")
        key = b"pgqueue-results:default:actor:m1"
        digest = hashlib.md5(key, usedforsecurity=False).hexdigest()
        results.store(queue.conn, queue.statements, result=StoredResult(digest, junk, ttl_ms=60_000))
        see(visitor, "/message?id=m1")
        assert visitor.json("/message", id="m1")["result"] is not None


def cursor(*parts: object) -> str:
    return urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


DEEP = urlsafe_b64encode(b"[" * 20_000).decode()

CURSORS = {
    "running": [cursor("running", 10**30), cursor("running", -1), cursor("running", "1")],
    "parked": [cursor("parked", "\0", 1), cursor("parked", "\ud800", 1), cursor("parked", "a" * 1_001, 1)],
    "scheduled": [
        cursor("scheduled", "2025-01-01T00:00:00+00:00", 10**30),
        cursor("scheduled", "2025-W01-1", 1),
        cursor("scheduled", "0001-01-01T00:00:00+23:59", 1),
        cursor("scheduled", 1, 1),
    ],
    "queued": [cursor("queued 1", 10**30, 1), cursor("queued 1", 1, 10**30)],
    "done": [DEEP, "é", "!", cursor(), cursor({}, 1)],
}


@pytest.mark.parametrize(
    ("state", "after"), [(state, one) for state, some in CURSORS.items() for one in some]
)
def test_a_cursor_made_by_hand_is_refused(visitor: Visitor, queue: Queue, state: str, after: str) -> None:
    queue.lane()
    answer = visitor.get("/messages", params={"state": state, "after": after})
    assert answer.status_code == 400
    assert "is no place in this list" in answer.text
    if state not in {"running", "done"}:
        acted = visitor.act(f"/messages/all?action=delete&state={state}", cursor=after)
        assert acted.status_code == 400


def test_a_place_among_outcomes_made_by_hand_is_refused(visitor: Visitor, full: Any) -> None:
    window = int(full.queue.value("SELECT floor(extract(epoch FROM now()))")) // 7_200
    for at in ((2**32, 1), (1, 2**16), (-1, 0)):
        answer = visitor.get("/messages", params={"state": "done", "after": cursor(f"ended {window}", *at)})
        assert answer.status_code == 400


def test_a_place_in_any_time_zone_is_one(visitor: Visitor, queue: Queue) -> None:
    due = cursor("scheduled", "2025-01-01T00:00:00+23:59", 1)
    assert visitor.get("/messages", params={"state": "scheduled", "after": due}).status_code == 200
    assert visitor.get("/dead", params={"after": "2025-01-01T00:00:00+23:59~1"}).status_code == 200
    assert visitor.get("/dead", params={"after": "0001-01-01T00:00:00+23:59~1"}).status_code == 400


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("since", "999999d"),
        ("until", "999999d"),
        ("since", "0001-01-01T00:00:00+23:59"),
        ("limit", "000000001999999"),
        ("limit", "1" * 5_000),
        ("limit", "²"),
    ],
)
def test_a_parameter_beyond_all_bounds_is_refused(visitor: Visitor, name: str, text: str) -> None:
    answer = visitor.get("/messages", params={name: text})
    assert answer.status_code == 400
    assert f"{name} is" in answer.text


@pytest.mark.parametrize("action", ["pause", "resume", "limit"])
@pytest.mark.parametrize("kind", ["queue", "actor"])
def test_a_name_that_nothing_can_have_is_refused(
    visitor: Visitor, queue: Queue, action: str, kind: str
) -> None:
    fields: dict[str, Any] = {"action": action, "limit": "3", "kind": kind}
    for name in ("n" * 1_001, "é" * 501, "x" * 20_000, "a\0b"):
        assert visitor.act("/queues", name=name, **fields).status_code == 400
    expected = 400 if (action, kind) == ("limit", "actor") else 200
    assert visitor.act("/queues", name="n" * 1_000, **fields).status_code == expected


def test_cookies_and_headers_made_by_hand_break_nothing(visitor: Visitor) -> None:
    odd = urlsafe_b64encode(json.dumps(["a\ud800b", 1, {}, "<b>"]).encode()).decode()
    for said in (urlsafe_b64encode(b"[" * 2_000).decode(), odd, "é".encode(), "!"):
        header = said if isinstance(said, bytes) else said.encode()
        page = visitor.get("/queues", headers={b"cookie": SAID_COOKIE.encode() + b"=" + header})
        assert page.status_code == 200
        assert (
            "<b>" not in page.text.partition("</main>")[0].partition('class="said"')[2].partition("</div>")[0]
        )
    word = "a-word-of-my-own-choosing"
    headers = {"cookie": f"{TOKEN_COOKIE}={word}", "x-csrf-token": word, "origin": "http://["}
    form = {"kind": "queue", "name": "q", "action": "pause", "back": "http://["}
    assert visitor.post("/queues", data=form, headers=headers).status_code == 403
    del headers["origin"]
    assert visitor.post("/queues", data=form, headers=headers).status_code == 200
    assert visitor.get("/queues", headers={"host": "["}).status_code == 200


def asked_for(visitor: Visitor, path: str) -> str:
    """What is answered to a path as it is, which a client would put right first."""
    address = (visitor.base_url.host, visitor.base_url.port or 80)
    with socket.create_connection(address, timeout=30) as sent:
        sent.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: sent.recv(65_536), b"")).decode()


@pytest.mark.parametrize(
    "path", ["//evil.example/x", "///evil.example/x", "/\\evil.example/x", "/%5Cevil.example/x"]
)
def test_no_link_leads_elsewhere(visitor: Visitor, path: str) -> None:
    page = asked_for(visitor, path)
    assert page.startswith("HTTP/1.1 404")
    assert 'href="/evil.example' in page or 'href="/%5Cevil.example' in page
    assert 'href="//' not in page
    assert 'href="/\\' not in page


def test_a_path_with_letters_of_any_kind_is_come_back_to(queue: Queue, sites: list[Any]) -> None:
    app = application.application(application.settings_of(queue.database))
    word = "a-word-of-my-own-choosing"
    headers = {"cookie": f"{TOKEN_COOKIE}={word}", "x-csrf-token": word}
    with served(Starlette(routes=[Mount("/my queués", app)])) as address, Client(base_url=address) as client:
        shown = re.search(r'name="back" value="([^"]*)"', client.get("/my queués/dead?reason=failed").text)
        assert shown is not None
        assert shown[1] == "/my%20queu%C3%A9s/dead?reason=failed"
        for back in (shown[1], "/my queués/dead?reason=failed"):
            form = {"kind": "queue", "name": "q", "action": "pause", "back": back}
            answer = client.post("/my queués/queues", data=form, headers=headers)
            assert answer.headers["location"] == "/my%20queu%C3%A9s/dead?reason=failed"


def test_a_value_that_would_be_long_when_indented_is_not() -> None:
    value: Any = [1] * 200_000
    for _ in range(200):
        value = [value]
    assert len(pretty(value)) < LONGEST + 100
    assert pretty([[1]]) == "[\n  [\n    1\n  ]\n]"
