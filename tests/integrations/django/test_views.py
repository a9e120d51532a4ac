"""The health check as a view."""

import json

import pytest
from django.test import RequestFactory

from pgqueue.integrations.django.views import health

REQUEST = RequestFactory().get("/health/queue")


@pytest.mark.usefixtures("django_broker")
def test_a_queue_that_can_be_used_is_ok_unless_workers_are_asked_for() -> None:
    answer = health(REQUEST)
    assert answer.status_code == 200
    assert json.loads(answer.content) == {"status": "ok", "database": True, "schema": True, "workers": 0}
    assert health(REQUEST, least_workers=1).status_code == 503
