"""A dashboard that is mounted into another application is asked for everything that can go wrong below a path."""

from __future__ import annotations

import re

import httpx
from httpx import BasicAuth

from tests.dashboard.conftest import Visitor

__all__ = ["AUTH", "everything_works_below"]

AUTH = BasicAuth("me", "open sesame")


def everything_works_below(address: str, path: str, *, auth: BasicAuth | None = AUTH) -> None:
    """Pages, what they load, links, and actions that come back."""
    with Visitor(base_url=address, follow_redirects=True, timeout=30, auth=auth) as visitor:
        page = visitor.get(f"{path}/")
        assert page.status_code == 200
        links = set(re.findall(r'(?:href|src|action|hx-get)="([^"#]+)"', page.text))
        assert len(links) > 10
        for link in links:
            assert link.startswith(f"{path}/"), link
            assert visitor.get(link).status_code in {200, 400}, link  # the search without an id is 400
        assert visitor.get(f"{path}/queues.json").json()["queues"] == []
        answer = visitor.post(
            f"{path}/queues",
            data={"token": visitor.cookies["pgqueue_token"], "kind": "queue", "name": "x", "action": "pause",
                  "back": f"{path}/queues?window=1h"},
        )  # fmt: skip
        assert str(answer.url) == f"{address}{path}/queues?window=1h"
        assert "Queue x is paused now." in answer.text
        assert f"Path={path}" in httpx.get(f"{address}{path}/", auth=auth).headers["set-cookie"]
        assert visitor.get(f"{path}/nowhere").status_code == 404
