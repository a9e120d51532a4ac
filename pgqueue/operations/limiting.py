"""Sets how many messages of a queue may run at once, over all workers."""

from ..storage import orders, queue_limits, registers
from ..storage.database import Database
from ..storage.queue_limits import QueueLimit
from .naming import checked_name

#: As many as the column holds.
MOST_AT_ONCE = 2**31 - 1


def checked_limit(at_once: object) -> int:
    """A limit that makes sense.

    Raises:
      ValueError: It is no whole number above 0.
    """
    if isinstance(at_once, bool) or not isinstance(at_once, int) or not 0 < at_once <= MOST_AT_ONCE:
        raise ValueError(
            f"A queue's limit is a whole number from 1 to {MOST_AT_ONCE:,}, not {at_once!r}; to have none of its "
            "messages run, pause the queue."
        )
    return at_once


def limit(database: Database, queue_name: str, at_once: int | None) -> bool:
    """Have at most so many messages of a queue run at once; False if it is so already.

    What runs goes on to its end. Workers obey within a second, mostly within milliseconds.

    Parameters:
      at_once: None for any number.

    Raises:
      BadName: No queue can have that name.
    """
    checked_name(queue_name)
    with database.bounded() as conn:
        if at_once is None:
            changed = queue_limits.lift(conn, database.statements, queue_name=queue_name)
        else:
            changed = queue_limits.set_limit(
                conn, database.statements, queue_name=queue_name, at_once=checked_limit(at_once)
            )
    with database.bounded() as conn:
        orders.announce(conn, database.statements)
        registers.wake(conn, database.statements)
    return changed


def limits(database: Database) -> list[QueueLimit]:
    """All limits, by the names of their queues."""
    with database.bounded() as conn:
        return queue_limits.list_limits(conn, database.statements)
