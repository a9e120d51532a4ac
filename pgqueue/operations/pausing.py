"""Pauses and resumes queues and actors, for all workers and for good."""

from ..storage import orders, pauses, registers
from ..storage.database import Database
from ..storage.pauses import Kind
from .naming import checked_name

#: Messages of a resumed actor that are made ready in one statement.
BATCH = 1_000


def pause(database: Database, kind: Kind, name: str) -> bool:
    """Have no worker begin a message of a queue or an actor; False if it was paused already.

    What runs goes on to its end. Workers obey within a second, mostly within milliseconds.

    Raises:
      BadName: No queue and no actor can have that name.
    """
    checked_name(name)
    with database.bounded() as conn:
        paused = pauses.add(conn, database.statements, kind=kind, name=name)
    with database.bounded() as conn:
        orders.announce(conn, database.statements)
    return paused


def resume(database: Database, kind: Kind, name: str) -> bool:
    """Let a paused queue or actor go on; False if it was not paused.

    Messages of an actor that workers had put aside meanwhile are ready again when this returns; should it break off,
    workers do the rest.

    Raises:
      BadName: No queue and no actor can have that name.
    """
    checked_name(name)
    with database.bounded() as conn:
        resumed = pauses.remove(conn, database.statements, kind=kind, name=name)
    with database.bounded() as conn:
        orders.announce(conn, database.statements)
    if kind == "actor":
        while release(database, name) >= BATCH:
            pass
    return resumed


def release(database: Database, actor_name: str) -> int:
    """Make a batch of an actor's parked messages ready; return how many there were."""
    with database.bounded() as conn:
        released = pauses.release(conn, database.statements, actor_name=actor_name, limit=BATCH)
    if released:
        with database.bounded() as conn:
            registers.wake(conn, database.statements)
    return released


def paused(database: Database) -> list[pauses.Pause]:
    """All that is paused, queues first."""
    with database.bounded() as conn:
        return pauses.list_pauses(conn, database.statements)
