"""Writes a group of verdicts in one commit, with everything that hangs on them.

Nearly always that is one statement. Where messages of the group arrive at barriers, it is a transaction: each barrier
is counted down once, by all that arrive at it, so that a group of messages does not queue up for its barrier's row,
and whoever lets the last one through sends what follows in the same commit.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from ..storage import messages, rate_limits
from ..storage.answering import AnsweringConnection
from ..storage.calls import perform
from ..storage.database import Connection, Database
from ..storage.messages import Arrival, NewMessage, Verdict
from ..storage.registers import channel, idle_register
from .catalog import learn_lanes


def write_verdicts(
    conn: Connection,
    database: Database,
    *,
    owner: UUID,
    verdicts: Sequence[Verdict],
    sent_to: Collection[str] = (),
) -> set[int]:
    """Record verdicts on messages of one owner; return the ids of those that were accepted.

    Parameters:
      conn: In autocommit mode, or inside the transaction that is to hold the verdicts.
      sent_to: Queues to which the transaction has sent messages before; their idle workers are told, too.
    """
    for verdict in verdicts:
        if verdict.follow_ups:
            verdict.follow_ups[:] = _readdressed(conn, database, verdict.follow_ups)
    if not any(verdict.arrivals for verdict in verdicts):
        return _settle(conn, database, owner, verdicts, sent_to)
    with conn.transaction():
        accepted = _settle(conn, database, owner, verdicts, sent_to)
        arrived = [
            arrival
            for verdict in verdicts
            if verdict.message.id in accepted and verdict.reason is None
            for arrival in verdict.arrivals
        ]
        _arrive(conn, database, arrived)
        return accepted


def _settle(
    conn: Connection, database: Database, owner: UUID, verdicts: Sequence[Verdict], sent_to: Collection[str]
) -> set[int]:
    queue_names = {new.queue_name for verdict in verdicts for new in verdict.follow_ups}
    return messages.settle(
        conn, database.statements, owner=owner,
        verdicts=verdicts,
        closes=[True] * len(verdicts),
        slots=sorted({verdict.message.lease.slot for verdict in verdicts}),
        channel=channel(database.schema),
        registers=_registers(database, queue_names.union(sent_to)),
    )  # fmt: skip


def _arrive(conn: Connection, database: Database, arrived: Sequence[Arrival]) -> None:
    if not arrived:
        return
    by_key = {arrival.key: arrival for arrival in arrived}
    through = rate_limits.arrive(
        conn,
        database.statements,
        parties=Counter(arrival.key for arrival in arrived),
        ttls_ms={key: arrival.ttl_ms for key, arrival in by_key.items()},
    )
    new = [message for key in sorted(through) for message in by_key[key].follow_ups()]
    if new := _readdressed(conn, database, new):
        messages.enqueue(
            conn,
            database.statements,
            messages=new,
            channel=channel(database.schema),
            registers=_registers(database, {message.queue_name for message in new}),
        )


def _readdressed(conn: Connection, database: Database, new: Sequence[NewMessage]) -> list[NewMessage]:
    """The messages with the lanes of this connection's server: another may have taken over since they were sent."""
    known = conn.server if isinstance(conn, AnsweringConnection) else ""
    if all(message.origin is None or (known and message.origin.startswith(f"{known}/")) for message in new):
        return list(new)
    lanes = perform(
        conn, database.statements, learn_lanes({(message.queue_name, message.priority) for message in new})
    )
    return [
        replace(message, lane=lanes.ids[message.queue_name, message.priority], origin=lanes.origin)
        for message in new
    ]


def _registers(database: Database, queue_names: Collection[str]) -> list[str]:
    return sorted({idle_register(queue_name, schema=database.schema) for queue_name in queue_names})
