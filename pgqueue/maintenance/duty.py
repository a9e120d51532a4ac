"""What all duties have in common."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass

from ..storage.database import Connection
from ..storage.statements import Statements

#: Numbers of the locks under which one keeper at a time does a duty.
ROTATION, REAPING, PRUNING, CONTROL = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Again:
    """When a duty wants to run next, in seconds from now."""

    in_s: float


class Alarm:
    """Remembers what has been told, so that a fault that lasts is one line when it begins, and not one each second."""

    def __init__(self) -> None:
        self._told: set[Hashable] = set()

    def begins(self, what: Hashable, *, present: bool) -> bool:
        """Whether ``what`` is present now and was not when it was last asked for."""
        begun = present and what not in self._told
        (self._told.add if present else self._told.discard)(what)
        return begun


class Duty(ABC):
    """A background duty. It keeps no promise in memory: any keeper can take over, two can run at once.

    Attributes:
      first_within_s: It runs for the first time at some moment within so many seconds after the start. What can wait
        is spread out: a fleet that starts at once does not do it at once, nor does a process that lives for a moment.
    """

    first_within_s = 0.0

    def __init__(self, statements: Statements) -> None:
        self.statements = statements

    @abstractmethod
    def run_once(self, conn: Connection) -> Again:
        """Do what there is to do now, for a bounded time; say when to come again."""

    def reconnected(self) -> None:  # noqa: B027  (most duties remember nothing)
        """Forget what belonged to the database session that is gone."""
