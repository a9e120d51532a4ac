"""What a torn settlement has left of one message: all of its end, or nothing."""

from dataclasses import dataclass
from typing import Any

import psycopg

from pgqueue.message import Message
from pgqueue.results.backends import PostgresBackend

__all__ = ["SCENARIOS", "TABLES", "Left", "drained", "look"]

#: The actor, and how its message ends.
SCENARIOS = (
    "plain", "plain retried", "plain failed",
    "transactional", "transactional retried", "transactional failed",
)  # fmt: skip

#: What the actors leave: effects in their transaction, runs outside of it.
TABLES = "CREATE TABLE effects (what text NOT NULL); CREATE TABLE runs (what text NOT NULL)"

#: All rows that a message of the tag ever had; slots are not emptied meanwhile.
SENT = """
WITH row AS (
    SELECT message_id, id, actor_name, convert_from(payload, 'UTF8') AS payload FROM pgqueue.messages
    UNION ALL
    SELECT message_id, id, actor_name, convert_from(payload, 'UTF8') FROM pgqueue.scheduled
)
SELECT
    row.actor_name, count(DISTINCT row.message_id),
    count(DISTINCT substring(payload FROM '"retries": ?([0-9]+)')),
    coalesce(sum((
        SELECT count(*) FROM pgqueue.leases WHERE row.id = ANY (leases.ids) AND row.id <> ALL (leases.done)
    )), 0),
    (SELECT array_agg(DISTINCT message_id) FROM row AS own
        WHERE own.actor_name = row.actor_name AND payload LIKE %(like)s)
FROM row
WHERE payload LIKE %(like)s
GROUP BY row.actor_name
"""


@dataclass(frozen=True, slots=True)
class Left:
    """Counts of what the database holds of one tag.

    Attributes:
      sent: Messages, by actor.
      ended: Outcomes, by actor.
      copies: Retries of the message.
      held: Rows of the message on leases.
    """

    sent: dict[str, int]
    ended: dict[str, int]
    copies: int
    held: int
    results: int
    effects: int
    dead: int

    def assert_whole(self, scenario: str, n: int) -> None:
        """Fail if there is an end without what follows from it, or the reverse."""
        name, _, end = scenario.partition(" ")
        ended = self.ended.get(name, 0)
        assert ended in {0, 1}, (n, self)
        # Each failure is told, that which is retried, too.
        assert self.sent.get("failed", 0) == self.copies + (end == "failed") * ended, (n, self)
        if end == "failed":
            expected = dict.fromkeys(("next", "succeeded", "completed", "sent"), 0)
            assert (self.results, self.dead, self.effects) == (ended, ended, 0), (n, self)
        else:
            expected = dict.fromkeys(("next", "succeeded", "completed"), ended)
            expected["sent"] = ended * (name == "transactional")
            assert (self.results, self.effects) == (ended, expected["sent"]), (n, self)
        followed = {actor: self.sent.get(actor, 0) for actor in expected}
        assert followed == expected, (n, self)
        assert self.held <= 1, (n, self)
        assert not (ended and self.held), (n, self)

    def assert_finished(self, scenario: str, n: int) -> None:
        """Fail if there is anything but one end, with one end of each message that followed."""
        name, _, _ = scenario.partition(" ")
        self.assert_whole(scenario, n)
        assert self.ended == self.sent, (n, self)
        assert self.ended[name] == 1, (n, self)
        assert self.held == 0, (n, self)


def look(url: str, tag: str) -> Left:
    """Count, in one snapshot."""
    with psycopg.connect(url, application_name="drill") as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        rows = conn.execute(SENT, {"like": f"%{tag}%"}).fetchall()
        name = tag.strip("<>").split()[0]
        own = next((row for row in rows if row[0] == name), (name, 0, 0, 0, []))
        ids = [id_ for row in rows for id_ in row[4]]
        return Left(
            sent={actor: count for actor, count, *_ in rows},
            ended=dict(
                conn.execute(
                    "SELECT actor_name, count(*) FROM pgqueue.outcomes WHERE message_id = ANY (%s) GROUP BY 1", (ids,)
                ).fetchall()
            ),
            copies=own[2],
            held=int(own[3]),
            results=_one(conn, "pgqueue.results WHERE key = ANY (%s)", [_key(url, name, id_) for id_ in own[4]]),
            effects=_one(conn, "effects WHERE what = %s", tag),
            dead=_one(conn, "pgqueue.dead_letters WHERE convert_from(payload, 'UTF8') LIKE %s", f"%{tag}%"),
        )  # fmt: skip


def _key(url: str, actor_name: str, message_id: object) -> str:
    message: Message[Any] = Message("default", actor_name, (), {}, {}, message_id=str(message_id))
    return PostgresBackend(url=url).build_message_key(message)


def _one(conn: "psycopg.Connection[Any]", source: str, parameter: object) -> int:
    row = conn.execute(f"SELECT count(*) FROM {source}".encode(), (parameter,)).fetchone()
    return int(row[0]) if row else 0


def drained(conn: "psycopg.Connection[Any]") -> bool:
    """Whether the queue is empty."""
    row = conn.execute(
        "SELECT NOT EXISTS (SELECT FROM pgqueue.ready) AND NOT EXISTS (SELECT FROM pgqueue.leases)"
        " AND NOT EXISTS (SELECT FROM pgqueue.scheduled)"
    ).fetchone()
    return bool(row and row[0])
