"""The engine's statements on a test's database, without brokers and threads: what a test of storage needs at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from pgqueue.storage import lanes, messages, registers, slots, workers
from pgqueue.storage.database import Connection, Database
from pgqueue.storage.messages import Claim, ClaimedMessage, NewMessage, Verdict
from pgqueue.storage.positions import Positions

__all__ = ["Queue", "done", "open_queue"]


class Queue:
    """One database with its lanes; connections that are opened here are closed with it."""

    def __init__(self, url: str, *, schema: str = "pgqueue") -> None:
        self.database = Database(url, schema=schema)
        self.statements = self.database.statements
        self._opened: list[Connection] = []
        self._lanes: dict[tuple[str, int], int] = {}
        self.conn = self.connect()

    def connect(self, **settings: str) -> Connection:
        """Open a connection in autocommit mode."""
        conn = self.database.connect(application_name="pgqueue test", settings=settings)
        self._opened.append(conn)
        return conn

    def close(self) -> None:
        """Close every connection."""
        for conn in self._opened:
            conn.close()
        self.database.close()

    def lane(self, queue_name: str = "default", priority: int = 0) -> int:
        """Return the number of a lane, made if it is missing."""
        key = (queue_name, priority)
        if key not in self._lanes:
            lanes.add_lanes(self.conn, self.statements, lanes=[key])
            found = lanes.list_lanes(self.conn, self.statements)
            self._lanes = {(lane.queue_name, lane.priority): lane.id for lane in found}
        return self._lanes[key]

    def new(
        self,
        payload: bytes | str,
        *,
        queue_name: str = "default",
        priority: int = 0,
        delay_ms: float | None = None,
        message_id: str | None = None,
    ) -> NewMessage:
        """Make a message that is not sent yet."""
        data = payload.encode() if isinstance(payload, str) else payload
        return NewMessage(
            self.lane(queue_name, priority),
            queue_name,
            message_id or str(uuid4()),
            "actor",
            data,
            delay_ms=delay_ms,
        )

    def send(self, *payloads: bytes | str, conn: Connection | None = None, **options: Any) -> None:
        """Send messages in one statement."""
        self.send_all([self.new(payload, **options) for payload in payloads], conn=conn)

    def send_all(self, new: Sequence[NewMessage], *, conn: Connection | None = None) -> None:
        """Send messages in one statement."""
        names = {one.queue_name for one in new}
        messages.enqueue(
            conn or self.conn,
            self.statements,
            messages=new,
            channel=registers.channel(self.database.schema),
            registers=[registers.idle_register(name, schema=self.database.schema) for name in names],
        )

    def owner(self, conn: Connection | None = None, *, threads: int = 2) -> UUID:
        """Register a worker, whose lock is held by ``conn``."""
        owner = uuid4()
        workers.register(conn or self.conn, self.statements, owner=owner, host="here", pid=1, threads=threads)
        return owner

    def slots(self) -> list[int]:
        """The slots in use, the oldest first."""
        ring = slots.list_slots(self.conn, self.statements)
        return [slot.slot for slot in ring if slot.state != "free"]

    def lanes_in_order(self) -> list[int]:
        """All lanes, most urgent first."""
        self.lane()
        return [self._lanes[key] for key in sorted(self._lanes, key=lambda key: key[1])]

    def claim(
        self,
        owner: UUID,
        *,
        limit: int = 100,
        conn: Connection | None = None,
        positions: Positions | None = None,
    ) -> Claim:
        """Claim as a fetcher does, from the beginning if no ``positions`` are given."""
        conn, positions = conn or self.conn, positions or Positions()
        spans = positions.plan(self.lanes_in_order(), in_use := self.slots())
        claim = messages.claim(conn, self.statements, slots=in_use, spans=spans, owner=owner, limit=limit)
        full = len(claim.messages) >= limit
        positions.advance(spans, claim.snapshot, stopped_at=claim.last if full else None)
        return claim

    def claimed(self, owner: UUID, **options: Any) -> list[ClaimedMessage]:
        """Claim and return the messages."""
        return self.claim(owner, **options).messages

    def settle(
        self,
        verdicts: Sequence[Verdict],
        *,
        closes: Sequence[bool] | bool = False,
        conn: Connection | None = None,
        owner: UUID | None = None,
    ) -> set[int]:
        """Record verdicts in one statement; return the ids of those accepted."""
        return messages.settle(
            conn or self.conn,
            self.statements,
            owner=owner or verdicts[0].message.lease.owner,
            verdicts=verdicts,
            closes=[closes] * len(verdicts) if isinstance(closes, bool) else closes,
            slots=sorted({verdict.message.lease.slot for verdict in verdicts}),
            channel=registers.channel(self.database.schema),
            registers=[],
        )

    def value(self, query: str, *parameters: object) -> Any:
        """The first column of the first row of a query; None if there is no row."""
        row = self.conn.execute(query.encode(), parameters).fetchone()
        return None if row is None else row[0]

    def values(self, query: str, *parameters: object) -> list[Any]:
        """The first column of a query's rows."""
        return [row[0] for row in self.conn.execute(query.encode(), parameters)]

    def ready(self) -> list[str]:
        """The payloads of all ready messages, in their order."""
        rows = self.conn.execute(
            """SELECT message.payload FROM pgqueue.ready
            JOIN pgqueue.messages AS message ON message.slot = ready.slot AND message.id = ready.id
            ORDER BY ready.xid, ready.id"""
        )
        return [bytes(row[0]).decode() for row in rows]


def done(message: ClaimedMessage, **fields: Any) -> Verdict:
    """A verdict on a claimed message: done, unless ``fields`` say otherwise."""
    return Verdict(message, str(uuid4()), "actor", **fields)


@contextmanager
def open_queue(url: str, *, schema: str = "pgqueue") -> Iterator[Queue]:
    """A queue whose connections are closed afterwards."""
    queue = Queue(url, schema=schema)
    try:
        yield queue
    finally:
        queue.close()
