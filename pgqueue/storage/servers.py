"""Which of several servers a database's connections lead to, and that all of them lead to the same.

After a failover the old primary may live on: cut off from its standby so that no commit of it returns, or without
anybody who tells it. Connections that were opened before stay there. The server of the newest connection counts, for
the URL has just led to it; those that lead elsewhere are given up at their next use.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any, Protocol

import psycopg
from psycopg import conninfo

from .urls import settings_of

__all__ = ["Servers", "Speaking"]

#: Seconds for which a server that has not answered is tried after the others of its URL.
LAST_FOR_S = 60.0

#: With these the order of the servers decides nothing but which is asked first.
_CHOOSING = ("read-write", "primary")


class Speaking(Protocol):
    """A connection, as far as this module looks at it."""

    server: str

    @property
    def info(self) -> psycopg.ConnectionInfo:
        """What the driver knows of it."""


class Servers:
    """Of one database. Safe to use from all threads.

    Attributes:
      current: The one that counts.
    """

    def __init__(self) -> None:
        self.current = ""
        self._silent_at: dict[tuple[str, str], float] = {}

    def met(self, connection: Speaking, server: str) -> None:
        """Take note of what a new connection leads to."""
        connection.server = self.current = server

    def check(self, connection: Speaking) -> None:
        """Refuse a connection that leads to another server than the newest.

        Raises:
          psycopg.OperationalError: It does; nothing more is to be done on it.
        """
        if connection.server not in ("", self.current):
            raise psycopg.OperationalError(
                "newer connections lead to another server: this one is given up, lest two servers are worked on"
            )

    def fell_silent(self, connection: Speaking) -> None:
        """Try the server of a connection, which has not answered in time, after the others for a while."""
        try:
            self._silent_at[connection.info.host, str(connection.info.port)] = monotonic()
        except psycopg.OperationalError:
            return  # closed in the meantime

    def in_order(self, url: str) -> str:
        """The URL with those of its servers last that have not answered, if it asks for the one that takes writes."""
        settings = settings_of(url)
        silent = self._lately_silent()
        names = _listed(settings, "host")
        if not silent or len(names) < 2 or settings.get("target_session_attrs") not in _CHOOSING:
            return url
        ports = _listed(settings, "port") or ["5432"]
        ports = ports * len(names) if len(ports) == 1 else ports
        order = sorted(range(len(names)), key=lambda place: silent.get((names[place], ports[place]), 0.0))
        lists = {"host": names, "port": ports, "hostaddr": _listed(settings, "hostaddr")}
        moved = {key: ",".join(given[place] for place in order) for key, given in lists.items() if given}
        return conninfo.make_conninfo(url, **moved)

    def _lately_silent(self) -> dict[tuple[str, str], float]:
        since = monotonic() - LAST_FOR_S
        return {place: at for place, at in self._silent_at.copy().items() if at > since}


def _listed(settings: Mapping[str, Any], name: str) -> list[str]:
    return str(settings[name]).split(",") if settings.get(name) else []
