"""Views, as Django calls them: with ATOMIC_REQUESTS what they send shares the fate of the request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from pgqueue.brokers.postgres import PostgresBroker

from .shop.models import Order
from .test_transactions import waiting


class Failure(Exception):
    pass


def place(request: HttpRequest) -> HttpResponse:
    Order(number=1).place()
    if "fails" in request.GET:
        raise Failure
    return HttpResponse()


@transaction.non_atomic_requests
def place_at_once(request: HttpRequest) -> HttpResponse:
    return place(request)


urlpatterns = [path("place", place), path("place-at-once", place_at_once)]


@pytest.fixture
def client(django_broker: PostgresBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    with override_settings(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"]):
        yield Client(raise_request_exception=False)


@pytest.mark.parametrize(
    ("url", "status", "rows", "messages"),
    [
        ("/place", 200, 1, 1),
        ("/place?fails=1", 500, 0, 0),
        ("/place-at-once", 200, 1, 1),
        ("/place-at-once?fails=1", 500, 1, 1),
    ],
)
def test_what_a_view_sends_is_there_if_its_rows_are(
    client: Client, django_broker: PostgresBroker, url: str, status: int, rows: int, messages: int
) -> None:
    assert client.get(url).status_code == status
    assert (Order.objects.count(), waiting(django_broker)) == (rows, messages)
