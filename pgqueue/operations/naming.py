"""Names of queues and actors that operators give: PostgreSQL has to take them."""

from .. import common
from ..errors import PgQueueError

__all__ = ["BadName", "checked_name"]


class BadName(PgQueueError, ValueError):
    """No queue and no actor can have such a name."""


def checked_name(name: str) -> str:
    """Return a name of a queue or an actor.

    Raises:
      BadName: PostgreSQL can't keep it; that is a ValueError, too.
    """
    try:
        return common.checked_name(name, "the name of a queue or an actor")
    except ValueError as error:
        raise BadName(str(error)) from None
