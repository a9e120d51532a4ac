"""All queues at a glance."""

from dataclasses import dataclass

from ..storage import lanes, pauses, queue_limits, queues
from ..storage.database import Connection, Database
from ..storage.queues import QueueFigures
from .crew import Crew, crew_of

#: How far the messages of a queue are counted, by each of their states.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue in figures, each of which stops at `MOST_COUNTED`.

    Attributes:
      ready: Messages that may be claimed.
      running: Messages that workers hold, those that are claimed ahead included.
      parked: Messages of paused actors that workers have put aside.
      oldest_s: Seconds for which the first in line has been ready.
      workers: How many live processes take messages of it; quiet ones don't.
      limit: How many of its messages may run at once; None for any number.
    """

    name: str
    ready: int
    running: int
    scheduled: int
    dead: int
    parked: int
    oldest_s: float | None
    paused: bool
    workers: int
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """All queues, all workers, and the actors that are paused."""

    queues: list[QueueState]
    crew: list[Crew]
    paused_actors: list[str]


def look(database: Database) -> Overview:
    """Look at all queues, in one snapshot."""
    with database.bounded() as conn:
        return _look(conn, database)


def _look(conn: Connection, database: Database) -> Overview:
    # As queues.MEASURING, whose other settings are in force here.
    conn.execute("SET LOCAL enable_sort = off")
    figures = queues.figures(conn, database.statements, most=MOST_COUNTED)
    crew = crew_of(conn, database)
    paused = pauses.list_pauses(conn, database.statements)
    names = {pause.name for pause in paused if pause.kind == "queue"}
    limits = {each.queue_name: each.at_once for each in queue_limits.list_limits(conn, database.statements)}
    known = [_state(each, names, limits, crew) for each in figures]
    unknown = (names | limits.keys()) - {each.queue_name for each in figures}
    known += [
        _state(QueueFigures(name, 0, 0, 0, 0, None, 0), names, limits, crew) for name in sorted(unknown)
    ]
    return Overview(known, crew, [pause.name for pause in paused if pause.kind == "actor"])


def _state(figures: QueueFigures, paused: set[str], limits: dict[str, int], crew: list[Crew]) -> QueueState:
    return QueueState(
        figures.queue_name, figures.ready, figures.leased, figures.scheduled, figures.dead, figures.parked,
        figures.oldest_age_s,
        paused=figures.queue_name in paused,
        workers=sum(each.takes_messages and each.serves(figures.queue_name) for each in crew),
        limit=limits.get(figures.queue_name),
    )  # fmt: skip


def known_queues(database: Database) -> set[str]:
    """The queues to which a message was ever sent."""
    with database.bounded() as conn:
        return {lane.queue_name for lane in lanes.list_lanes(conn, database.statements)}
