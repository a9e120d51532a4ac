"""What single worker processes are ordered to do. Owns the table worker_orders."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from .database import Connection
from .statements import Statements

#: What a process can be ordered: to begin no more messages, or to stop.
Verb = Literal["quiet", "stop"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a process is ordered after a change, if there was one; None: nothing but to work."""

    verb: Verb | None
    changed: bool


def give(conn: Connection, statements: Statements, *, process: UUID, verb: Verb) -> Standing | None:
    """Order a process something; None if it is not registered (any more)."""
    row = conn.execute(statements["worker_orders/give"], {"process": process, "verb": verb}).fetchone()
    return Standing(*row) if row else None


def withdraw(conn: Connection, statements: Statements, *, process: UUID) -> Standing | None:
    """Let a process work again, unless it is to stop; None if it is not registered (any more)."""
    row = conn.execute(statements["worker_orders/withdraw"], {"process": process}).fetchone()
    return Standing(*row) if row else None


def drop(conn: Connection, statements: Statements, *, process: UUID) -> None:
    """Forget what a process was ordered, because it ends."""
    conn.execute(statements["worker_orders/drop"], {"process": process})


def prune(conn: Connection, statements: Statements, *, older_s: float) -> int:
    """Forget what processes that are gone were ordered before; return how many."""
    return conn.execute(statements["worker_orders/prune"], {"older_s": older_s}).rowcount
