"""What all duties have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..storage.database import Connection
from ..storage.statements import Statements

#: Numbers of the locks under which one keeper at a time does a duty.
ROTATION, REAPING, PRUNING, CONTROL = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Again:
    """When a duty wants to run next, in seconds from now."""

    in_s: float


class Duty(ABC):
    """A background duty. It keeps no promise in memory: any keeper can take over, two can run at once."""

    def __init__(self, statements: Statements) -> None:
        self.statements = statements

    @abstractmethod
    def run_once(self, conn: Connection) -> Again:
        """Do what there is to do now, for a bounded time; say when to come again."""

    def reconnected(self) -> None:  # noqa: B027  (most duties remember nothing)
        """Forget what belonged to the database session that is gone."""
