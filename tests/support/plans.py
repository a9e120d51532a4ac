"""The plans with which statements were run, and what they cost in buffers: never in time.

The server's module auto_explain reports them, so that what is looked at is the statement itself, prepared as always.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from psycopg.errors import Diagnostic, UndefinedFile

from pgqueue.storage.database import Connection

__all__ = ["Plans", "buffers", "explained", "nodes"]

T = TypeVar("T")

_SETTINGS = {
    "log_format": "json",
    "log_level": "notice",
    "log_analyze": "on",
    "log_buffers": "on",
    "log_timing": "off",
}


def explained(conn: Connection, call: Callable[[], T]) -> tuple[T, dict[str, Any]]:
    """What ``call`` returns, and the plan of the last statement that it ran on ``conn``."""
    plans: list[dict[str, Any]] = []

    def take(diagnostic: Diagnostic) -> None:
        _, _, plan = (diagnostic.message_primary or "").partition("plan:\n")
        if plan:
            plans.append(json.loads(plan)["Plan"])

    _load(conn)
    for name, value in _SETTINGS.items():
        conn.execute("SELECT set_config(%s, %s, false)", (f"auto_explain.{name}", value))
    conn.add_notice_handler(take)
    conn.execute("SET auto_explain.log_min_duration = 0")
    try:
        answer = call()
    finally:
        conn.execute("SET auto_explain.log_min_duration = -1")
        conn.remove_notice_handler(take)
    return answer, plans[-1]


def _load(conn: Connection) -> None:
    try:
        conn.execute("LOAD 'auto_explain'", prepare=False)
    except UndefinedFile:
        pytest.skip("the server has no auto_explain (Debian: it comes with postgresql-NN)")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes, the top first."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def buffers(plan: dict[str, Any]) -> int:
    """How many buffers the statement touched, however often."""
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


class Plans(list[dict[str, Any]]):
    """The plans of all statements that were run on connections meanwhile; `of` may be used by several threads."""

    @contextmanager
    def of(self, conn: Connection) -> Iterator[None]:
        """Add those of a connection, which is in a transaction."""

        def take(diagnostic: Diagnostic) -> None:
            _, _, plan = (diagnostic.message_primary or "").partition("plan:\n")
            if plan:
                self.append(json.loads(plan)["Plan"])

        _load(conn)
        for name, value in {**_SETTINGS, "log_min_duration": "0"}.items():
            conn.execute("SELECT set_config(%s, %s, true)", (f"auto_explain.{name}", value))
        conn.add_notice_handler(take)
        try:
            yield
            # A statement's plan is told when its portal is closed: at the next statement at the latest.
            conn.execute("SELECT 1")
        finally:
            conn.remove_notice_handler(take)
