"""What operators have ordered and workers obey: pauses, cancellations of held messages, what processes are to do.

Owns the table cancellations; pauses and worker_orders have modules of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from .database import Connection
from .registers import channel
from .statements import Statements
from .worker_orders import Verb

#: What a notification says that tells workers of orders, as orders/announce.sql has it.
ORDERS = "orders"

Answer = Literal["asked", "accepted", "refused"]


@dataclass(frozen=True, slots=True)
class Orders:
    """All orders that stand for a process.

    Attributes:
      cancelled: The keys (UUIDs as text) of messages that are not to run.
      refused: Those of which a worker has said that it runs them to their end.
      parked: Whether messages of paused actors have been put aside.
      process: What the process itself is to do; None: work.
      limited: Queues of which only so many messages run at once.
    """

    queues: frozenset[str] = frozenset()
    actors: frozenset[str] = frozenset()
    cancelled: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    parked: bool = False
    process: Verb | None = None
    limited: frozenset[str] = frozenset()


def read(conn: Connection, statements: Statements, *, process: UUID) -> Orders:
    """All orders that stand for a process."""
    rows = conn.execute(statements["orders/read"], {"process": process}).fetchall()

    def of(kind: str) -> frozenset[Any]:
        return frozenset(name for found, name in rows if found == kind)

    return Orders(
        of("queue"), of("actor"), of("cancel"), of("refused"), bool(of("parked")), next(iter(of("process")), None),
        of("limit"),
    )  # fmt: skip


def announce(conn: Connection, statements: Statements) -> None:
    """Tell all workers to look at once; call it after the commit of what was ordered."""
    conn.execute(statements["orders/announce"], {"channel": channel(statements.schema)})


def ask_to_cancel(conn: Connection, statements: Statements, *, key: str) -> None:
    """Leave the request that a message which a worker holds be cancelled."""
    conn.execute(statements["cancellations/ask"], {"key": key})


def answer(conn: Connection, statements: Statements, *, key: str, state: Answer) -> None:
    """Answer a request that was not answered yet."""
    conn.execute(statements["cancellations/answer"], {"key": key, "state": state})


def answer_to(conn: Connection, statements: Statements, *, key: str) -> Answer | None:
    """What was answered to a request; None if there is none (any more)."""
    row = conn.execute(statements["cancellations/find"], {"key": key}).fetchone()
    return row[0] if row else None


def drop_request(conn: Connection, statements: Statements, *, key: str) -> None:
    """Forget a request that is settled."""
    conn.execute(statements["cancellations/drop"], {"key": key})


def old_requests(conn: Connection, statements: Statements, *, older_s: float) -> Sequence[tuple[str, Answer]]:
    """The keys and answers of some requests that were made ``older_s`` ago or before."""
    return conn.execute(statements["cancellations/old"], {"older_s": older_s}).fetchall()
