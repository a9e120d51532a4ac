"""The application's own table in the queue's database, in which the actors of tests leave their effects."""

from __future__ import annotations

from typing import Any

import psycopg

__all__ = ["Effects"]


class Effects:
    """A table of texts. What an open transaction has written is not seen here."""

    def __init__(self, url: str) -> None:
        self._conn = psycopg.connect(url, autocommit=True)
        self._conn.execute(
            "CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY, what text NOT NULL)"
        )

    @property
    def seen(self) -> list[str]:
        """All of them, in order."""
        return [row[0] for row in self._conn.execute("SELECT what FROM effects ORDER BY what")]

    @staticmethod
    def add(conn: psycopg.Connection[Any], what: str) -> None:
        """Leave an effect."""
        conn.execute("INSERT INTO effects (what) VALUES (%s)", (what,))

    def execute(self, statement: str) -> None:
        """Run a statement on a connection of our own, which is in autocommit mode."""
        self._conn.execute(statement.encode())

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()
