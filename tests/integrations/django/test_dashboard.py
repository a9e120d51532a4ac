"""The dashboard in a project's urls.py, under WSGI and ASGI, beside Django's own protection against forged requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import include, path

from pgqueue.dashboard.django import urls
from pgqueue.dashboard.site import Site
from tests.support.dashboards import sites_made
from tests.support.mounting import everything_works_below
from tests.support.serving import served

pytestmark = pytest.mark.usefixtures("django_broker", "sites")

CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@pytest.fixture
def sites(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Site]]:
    """The dashboards that the test makes; they let go of the database before it is dropped."""
    with sites_made(monkeypatch) as made:
        yield made


class Urls:
    """What a project's urls.py is to Django."""

    def __init__(self, *patterns: Any) -> None:
        self.urlpatterns = list(patterns)


def own(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("the project's own")


class KnowsUsers:
    """In the place of Django's authentication: a header names the user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = request.headers.get("X-User", "")
        request.user = SimpleNamespace(
            is_active=name != "retired", is_staff=name in {"staff", "root", "retired"}, is_superuser=name == "root"
        )  # fmt: skip
        return self.get_response(request)


@contextmanager
def project(
    make: Callable[[], Any], *patterns: Any, middleware: Sequence[str], interface: str = "asgi3"
) -> Iterator[str]:
    """Serve a project with these addresses."""
    with (
        override_settings(
            ROOT_URLCONF=Urls(*patterns), MIDDLEWARE=[*middleware, CSRF], ALLOWED_HOSTS=["127.0.0.1"]
        ),
        served(make(), interface=interface) as address,
    ):
        yield address


@pytest.mark.parametrize(
    ("make", "interface"),
    [(get_wsgi_application, "wsgi"), (get_asgi_application, "asgi3")],
    ids=["wsgi", "asgi"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # uvicorn's own bridge from WSGI
def test_everything_works_below_a_path(make: Callable[[], Any], interface: str) -> None:
    mounted = path("deep/queues/", include(urls(role=lambda _: "operator")))
    with project(make, path("own", own), mounted, middleware=[], interface=interface) as address:
        everything_works_below(address, "/deep/queues", auth=None)
        assert httpx.get(f"{address}/own").text == "the project's own"
        assert httpx.post(f"{address}/own").status_code == 403
        forged = {"kind": "queue", "name": "y", "action": "pause"}
        assert httpx.post(f"{address}/deep/queues/queues", data=forged).status_code == 403


def test_superusers_act_staff_look_and_others_stay_outside() -> None:
    mounted = path("queues/", include(urls()))
    with project(get_asgi_application, mounted, middleware=[f"{__name__}.KnowsUsers"]) as address:
        page = f"{address}/queues/queues"
        statuses = [
            httpx.get(page, headers={"X-User": user}).status_code
            for user in ("root", "staff", "someone", "retired")
        ]
        assert statuses == [200, 200, 403, 403]
        token = "a-word-of-my-own-choosing"
        for user, status in (("staff", 403), ("root", 200)):
            answer = httpx.post(
                page,
                data={"kind": "queue", "name": "q", "action": "pause"},
                headers={
                    "X-User": user, "X-CSRF-Token": token, "Cookie": f"pgqueue_token={token}",
                    "accept": "application/json",
                },
            )  # fmt: skip
            assert answer.status_code == status, answer.text


def test_a_project_without_users_is_told_what_to_do() -> None:
    (pattern,) = urls()
    with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"):
        pattern.callback(RequestFactory().get("/queues/"), rest="")
