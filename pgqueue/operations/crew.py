"""Who works: every process that claims messages, what it serves and what it is running."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ..storage import whereabouts, workers
from ..storage.database import Connection, Database

#: A worker that has been silent for so many seconds is in trouble: its heartbeat comes every two.
SILENT_S = 10.0

_ORDERED = {None: "to work again", "quiet": "to go quiet", "stop": "to stop"}


@dataclass(frozen=True, slots=True)
class Running:
    """A message that a worker has been running for more than a second."""

    message_id: str
    actor_name: str
    queue_name: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Crew:
    """A process that claims messages.

    Attributes:
      held: Messages that it holds, those that are claimed ahead included.
      queues: What it serves; None if it has not said so (it has just started, or is of an older release).
      process: The number under which it takes orders; None: of a release that takes none.
      state: ``working``, ``quiet`` or ``stopping``, as it says of itself.
      memory_bytes: What it holds; None if it has not said so.
      ordered: What it is ordered to do: ``quiet``, ``stop``, or None.
    """

    owner: UUID
    host: str
    pid: int
    threads: int
    started_at: datetime
    seen_at: datetime
    up_s: float
    silent_s: float
    held: int
    queues: list[str] | None
    actors: list[str] | None
    running: list[Running]
    process: UUID | None
    state: str
    memory_bytes: int | None
    ordered: str | None

    @property
    def id(self) -> str:
        """What it is called in orders."""
        return str(self.process or self.owner)

    @property
    def short_id(self) -> str:
        """The beginning of that, for people."""
        return self.id[:8]

    @property
    def condition(self) -> str:
        """Its state in words, with an order that it does not obey yet."""
        if not self.alive:
            return "silent"
        return self.state if self.obeys else f"{self.state}, {_ORDERED[self.ordered]}"

    @property
    def obeys(self) -> bool:
        """Whether it says that it does as it is ordered."""
        return self.state == {None: "working", "quiet": "quiet", "stop": "stopping"}[self.ordered]

    @property
    def takes_messages(self) -> bool:
        """Whether it is alive and was not ordered to begin no more."""
        return self.alive and self.state == "working" and self.ordered is None

    @property
    def alive(self) -> bool:
        """Whether it has given a sign of life lately."""
        return self.silent_s < SILENT_S

    @property
    def name(self) -> str:
        """``host:pid``."""
        return f"{self.host}:{self.pid}"

    def serves(self, queue_name: str) -> bool:
        """Whether it takes messages of a queue, as far as it has said."""
        return self.queues is None or queue_name in self.queues

    def declares(self, actor_name: str) -> bool:
        """Whether it has an actor, as far as it has said."""
        return self.actors is None or actor_name in self.actors


def list_crew(database: Database) -> list[Crew]:
    """Every process that claims messages, by host and process id."""
    with database.bounded() as conn:
        return crew_of(conn, database)


def crew_of(conn: Connection, database: Database) -> list[Crew]:
    """The same, on a connection that the caller has."""
    rows = workers.list_workers(conn, database.statements)
    ids = [id_ for row in rows for id_ in row.running]
    names = whereabouts.names_of(conn, database.statements, ids=ids) if ids else {}
    return [
        Crew(
            row.owner, row.host, row.pid, row.threads, row.started_at, row.seen_at, row.up_s, row.silent_s, row.held,
            row.queues, row.actors, _running(row.running, row.running_since, names), row.process, row.state,
            row.memory_bytes, row.ordered,
        )
        for row in rows
    ]  # fmt: skip


def _running(
    ids: Sequence[int], since: Sequence[datetime], names: dict[int, tuple[str, str, str]]
) -> list[Running]:
    pairs = sorted(zip(ids, since, strict=True), key=lambda pair: pair[1])
    return [Running(*names[id_], began) for id_, began in pairs if id_ in names]
