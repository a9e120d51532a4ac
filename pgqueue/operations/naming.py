"""Names of queues and actors that operators give: PostgreSQL has to take them."""

from ..errors import PgQueueError

__all__ = ["MOST_BYTES", "BadName", "checked_name"]

#: The most bytes of a name, as for those who send messages.
MOST_BYTES = 1_000


class BadName(PgQueueError, ValueError):
    """No queue and no actor can have such a name."""


def checked_name(name: str) -> str:
    """Return a name of a queue or an actor.

    Raises:
      BadName: It has more than `MOST_BYTES`, a NUL, or what is no UTF-8; that is a ValueError, too.
    """
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = -1
    if size < 0 or "\0" in name or size > MOST_BYTES:
        raise BadName(
            f"{name[:100]!r}{'…' if len(name) > 100 else ''} can't be the name of a queue or an actor: expected at "
            f"most {MOST_BYTES:,} bytes of UTF-8 without NUL."
        )
    return name
