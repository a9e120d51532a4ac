"""Dashboards that tests make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pgqueue.dashboard import application
from pgqueue.dashboard.site import Site

__all__ = ["sites_made"]


@contextmanager
def sites_made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Site]]:
    """Those made meanwhile; at the end they let go of the database, which can be dropped then."""
    made: list[Site] = []

    class Kept(Site):
        def __init__(self, settings: Any) -> None:
            super().__init__(settings)
            made.append(self)

    monkeypatch.setattr(application, "Site", Kept)
    yield made
    for site in made:
        site.history.close()
        site.database.close()
