"""Mounted into other applications, under any path, as docs/dashboard.md has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask
from httpx import Client
from starlette.applications import Starlette
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.dashboard import asgi, wsgi
from tests.support.mounting import AUTH, everything_works_below
from tests.support.processes import ROOT
from tests.support.queue import Queue
from tests.support.serving import served

pytestmark = pytest.mark.usefixtures("sites")


def test_in_starlette_and_fastapi(postgres_broker: PostgresBroker) -> None:
    for app in (Starlette(), FastAPI()):
        app.mount("/deep/queues", asgi(postgres_broker, password="open sesame"))
        with served(app) as address:
            everything_works_below(address, "/deep/queues")
        postgres_broker.resume_queue("x")


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # uvicorn's own bridge from WSGI, which serves the test
def test_in_flask(postgres_broker: PostgresBroker) -> None:
    app = Flask(__name__)
    app.add_url_rule("/own", view_func=lambda: "the application's own", endpoint="own")
    mounted = {"/deep/queues": wsgi(postgres_broker, password="open sesame")}
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, mounted)  # type: ignore[method-assign]
    with served(app, interface="wsgi") as address:
        everything_works_below(address, "/deep/queues")
        assert httpx.get(f"{address}/own").text == "the application's own"
        assert httpx.get(f"{address}/deep/queues/").status_code == 401


def test_at_the_root(postgres_broker: PostgresBroker) -> None:
    with served(asgi(postgres_broker, password="open sesame")) as address:
        assert 'href="/messages"' in httpx.get(f"{address}/", auth=AUTH).text


class Below:
    """A WSGI application under a path, as a server or a dispatcher hands it on."""

    def __init__(self, app: Callable[..., Iterable[bytes]], path: str) -> None:
        self.app = app
        self.path = path

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(self.path):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"elsewhere"]
        inside = {**environ, "SCRIPT_NAME": self.path, "PATH_INFO": path[len(self.path) :]}
        return self.app(inside, start_response)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # uvicorn's own bridge from WSGI, which serves the test
def test_in_wsgi_where_a_function_says_who_may_come_in(postgres_broker: PostgresBroker) -> None:
    asked: list[str] = []

    def role(request: Any) -> str:
        asked.append(request.scope["wsgi_environ"]["SCRIPT_NAME"])
        return "operator"

    with served(Below(wsgi(postgres_broker, role=role), "/queues"), interface="wsgi") as address:
        everything_works_below(address, "/queues", auth=None)
    assert set(asked) == {"/queues"}


def test_the_examples_of_the_documentation_run(postgres_broker: PostgresBroker, queue: Queue) -> None:
    text = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 4
    names: dict[str, Any] = {"broker": postgres_broker, "__name__": "app"}
    statuses = []
    for example in examples:
        if "urlpatterns" in example:
            continue  # tests/integrations/django/test_dashboard.py
        exec(compile(example, "docs/dashboard.md", "exec"), names)  # noqa: S102  # our own examples
        app = names["app"]
        if hasattr(app, "wsgi_app"):
            client = app.test_client()
            statuses.append(client.get("/queues/").status_code)
            continue
        with served(app) as address, Client(base_url=address, follow_redirects=True) as asked:
            statuses.append(asked.get("/queues").status_code)
    assert statuses == [401, 401, 200]
