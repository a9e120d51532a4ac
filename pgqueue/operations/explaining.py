"""Why a message is not running: what is known of it, and what follows from that in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite

from ..clock import made_at
from ..errors import DecodeError
from ..message import Message
from ..storage import attempts, health, orders, pauses, queue_limits, whereabouts
from ..storage.attempts import FailedAttempt
from ..storage.database import Connection, Database
from ..storage.dead_letters import DeadLetter
from ..storage.health import Session
from ..storage.messages import keys_of
from ..storage.pauses import Pause
from ..storage.queue_limits import Holder, QueueLimit
from ..storage.whereabouts import Ahead, End, LiveRow
from .crew import Crew, crew_of
from .wording import ago, more, span

#: How far messages ahead are counted.
MOST_AHEAD = 10_000

#: More retries than any message has had: what claims more of itself is not believed.
MOST_RETRIES = 2**31

_REASONS = {
    "failed": "its actor failed, and no retry was left",
    "undecodable": "its bytes are not those of a message",
    "poison": "it was running in three workers when they were lost",
    "unknown actor": "the worker that took it declares no such actor",
    "too old": "it was past its age limit (max_age) when a worker came to it, and was not run",
    "unrecordable": "what became of it could not be written",
}


_NOWHERE = (
    "No message of this id is known. It was never sent, its transaction is open or was rolled back, it was deleted, "
    "or it ended long ago: outcomes are kept for a day, dead letters for seven."
)


@dataclass(frozen=True, slots=True)
class Found:
    """All that is known of a message: its rows, ends, dead letters and failed attempts, and what stands in its way."""

    message_id: str
    live: list[LiveRow]
    ends: list[End]
    letters: list[DeadLetter]
    crew: list[Crew]
    pauses: list[Pause]
    attempts: list[FailedAttempt] = field(default_factory=list)
    ahead: Ahead | None = None
    cancelling: bool = False
    writers: list[Session] = field(default_factory=list)
    limit: QueueLimit | None = None
    holders: list[Holder] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message is where it is.

    Attributes:
      status: As `MessageStatus`, from the most alive of its rows.
      because: The reasons, the weightiest first; the others hold as well.
      remedy: What would change it, if anybody can.
    """

    status: str
    because: list[str]
    remedy: str | None = None


def find(database: Database, message_id: str) -> Found:
    """Gather what is known of a message."""
    statements = database.statements
    with database.bounded() as conn:
        live = whereabouts.find_live(conn, statements, message_id=message_id)
        ends = whereabouts.find_ends(conn, statements, message_id=message_id)
        letters = whereabouts.find_dead(conn, statements, message_id=message_id)
        failed = attempts.find_attempts(conn, statements, message_ids=[message_id])
        waiting = next((row for row in live if row.state == "queued"), None)
        limit = None if waiting is None else _limit_of(conn, database, waiting.queue_name)
        return Found(
            message_id, live, ends, letters,
            crew=crew_of(conn, database),
            pauses=pauses.list_pauses(conn, statements),
            attempts=failed.get(message_id, []),
            ahead=None if waiting is None else whereabouts.count_ahead(
                conn, statements, row=waiting, most=MOST_AHEAD
            ),
            cancelling=orders.answer_to(conn, statements, key=keys_of(message_id)[0]) in {"asked", "accepted"},
            writers=[] if live or ends or letters else health.writers(conn, statements),
            limit=limit,
            holders=[] if limit is None else queue_limits.holders(
                conn, statements, queue_name=limit.queue_name
            ),
        )  # fmt: skip


def _limit_of(conn: Connection, database: Database, queue_name: str) -> QueueLimit | None:
    limits = queue_limits.list_limits(conn, database.statements)
    return next((limit for limit in limits if limit.queue_name == queue_name), None)


def explain(found: Found) -> Explanation:
    """Say why a message is not running, or what became of it."""
    for state, tell in _TELLERS.items():
        row = next((row for row in found.live if row.state == state), None)
        if row is not None:
            return tell(found, row)
    if found.letters and (not found.ends or found.ends[0].status == "f"):
        return _dead(found.letters[0])
    if found.ends:
        return _ended(found.ends[0])
    return _forgotten(found.attempts) if found.attempts else _unknown(found)


def _running(found: Found, row: LiveRow) -> Explanation:
    holder = next((crew for crew in found.crew if crew.owner == row.owner), None)
    asked = ["It was to be cancelled; its worker has been asked."] if found.cancelling else []
    if holder is None:
        because = [
            f"It was claimed {ago(row.now - row.since)} by a worker that is not registered (any more)."
        ]
        return Explanation("running", [*because, *asked, "Another worker takes it over within 15 seconds."])
    because = _held(found, row, holder)
    if not holder.alive:
        because.append(
            f"That worker has been silent for {span(holder.silent_s)}. If it is lost, another takes over."
        )
    if row.attempts:
        because.append(f"{more(row.attempts, 'worker')} had been lost while running it.")
    remedy = None if asked else f"pgqueue messages cancel {found.message_id}"
    return Explanation("running", [*because, *asked], remedy)


def _held(found: Found, row: LiveRow, holder: Crew) -> list[str]:
    since = next((run.since for run in holder.running if run.message_id == found.message_id), None)
    if since is not None:
        return [f"It is running: worker {holder.name} began {ago(row.now - since)}."]
    waits = f"It has just begun, or was claimed ahead and waits for one of {holder.threads} threads."
    others = [
        f"That worker has been running {run.actor_name} for {_for(row.now - run.since)}."
        for run in holder.running[:3]
    ]
    return [f"Worker {holder.name} claimed it {ago(row.now - row.since)}. {waits}", *others]


def _queued(found: Found, row: LiveRow) -> Explanation:
    reasons, remedy = _obstacles(found, row)
    if found.ahead is not None:
        reasons += _in_front(found.ahead)
    if not reasons:
        serving = sum(crew.takes_messages and crew.serves(row.queue_name) for crew in found.crew)
        workers = more(serving, "worker") + f" serving {row.queue_name!r}"
        reasons = [f"It is the next of its queue: {workers} will claim it at once, or when a thread is free."]
    reasons += _aging(row) + _tried(row)
    return Explanation("queued", [*reasons, f"It has been ready for {_for(row.now - row.since)}."], remedy)


def _obstacles(found: Found, row: LiveRow) -> tuple[list[str], str | None]:
    """What keeps a message from being begun as things are, and what would help."""
    obstacles: list[tuple[str, str | None]] = []
    for pause in found.pauses:
        lasting = f"has been paused for {_for(row.now - pause.paused_at)}."
        if (pause.kind, pause.name) == ("queue", row.queue_name):
            obstacles.append((f"Queue {pause.name!r} {lasting}", f"pgqueue queues resume {pause.name}"))
        if (pause.kind, pause.name) == ("actor", row.actor_name):
            obstacles.append(
                (f"Actor {pause.name!r} {lasting}", f"pgqueue queues resume --actor {pause.name}")
            )
    obstacles += _without_workers(found, row)
    if found.limit is not None and (held := sum(holder.held for holder in found.holders)):
        obstacles.append(_limited(found.limit, held, found.holders))
    return [reason for reason, _ in obstacles], next((remedy for _, remedy in obstacles if remedy), None)


def _limited(limit: QueueLimit, held: int, holders: list[Holder]) -> tuple[str, str | None]:
    names = ", ".join(f"{holder.held} by {holder.name}" for holder in holders[:5])
    running = f"{held} {'is' if held == 1 else 'are'} held now: {names}."
    remedy = f"pgqueue queues limit {limit.queue_name} {limit.at_once + 1}" if held >= limit.at_once else None
    return f"Queue {limit.queue_name!r} runs at most {limit.at_once} at once, and {running}", remedy


def _without_workers(found: Found, row: LiveRow) -> list[tuple[str, str | None]]:
    alive = [crew for crew in found.crew if crew.alive]
    if not alive:
        silent = f" ({more(len(found.crew), 'worker')} silent)" if found.crew else ""
        return [(f"No worker is alive{silent}.", "pgqueue MODULE")]
    serving = [crew for crew in alive if crew.serves(row.queue_name)]
    if not serving:
        served = sorted({name for crew in alive for name in crew.queues or ()})
        names = ", ".join(map(repr, served[:10])) or "none"
        reason = f"No worker serves queue {row.queue_name!r}; those alive serve {names}."
        return [(reason, f"pgqueue MODULE --queues {row.queue_name}")]
    working = [crew for crew in serving if crew.takes_messages]
    if not working:
        return [_not_working(row.queue_name, serving)]
    if not any(crew.declares(row.actor_name) for crew in working):
        workers = f"No worker that serves queue {row.queue_name!r} declares actor {row.actor_name!r}"
        return [(f"{workers}: whoever claims the message makes it a dead letter.", None)]
    return []


def _not_working(queue_name: str, serving: list[Crew]) -> tuple[str, str | None]:
    quiet = next((crew for crew in serving if crew.ordered != "stop" and crew.state != "stopping"), None)
    names = ", ".join(f"{crew.name} is {crew.condition}" for crew in serving[:5])
    reason = f"No worker that serves queue {queue_name!r} begins messages: {names}."
    return reason, "pgqueue MODULE" if quiet is None else f"pgqueue workers work {quiet.short_id}"


def _in_front(ahead: Ahead) -> list[str]:
    reasons = []
    if ahead.more_urgent:
        reasons.append(
            f"It is behind {more(ahead.more_urgent, 'message', most=MOST_AHEAD)} of higher priority."
        )
    if ahead.earlier:
        number = more(ahead.earlier, "message", most=MOST_AHEAD)
        reasons.append(f"It is behind {number} of the same priority that came before it.")
    return reasons


def _parked(found: Found, row: LiveRow) -> Explanation:
    since = next(
        (pause.paused_at for pause in found.pauses if (pause.kind, pause.name) == ("actor", row.actor_name)),
        None,
    )
    actor = f"Actor {row.actor_name!r}"
    if since is not None:
        because = f"{actor} has been paused for {_for(row.now - since)}; a worker put the message aside."
        return Explanation("queued", [because], f"pgqueue queues resume --actor {row.actor_name}")
    because = f"{actor} was paused and has been resumed: a worker brings the message back within a second."
    others, remedy = _obstacles(found, row)
    return Explanation("queued", [because, *others], remedy)


def _scheduled(found: Found, row: LiveRow) -> Explanation:
    left = row.since - row.now
    tried = _tried(row)
    if left > timedelta(0):
        because = [f"It is not due: it will be {_at(row.since)}, in {span(left.total_seconds())}."]
        others, _ = _obstacles(found, row)
        remedy = f"pgqueue messages retry {found.message_id}"
        return Explanation("scheduled", [*because, *tried, *others], remedy)
    because = [f"It has been due for {_for(-left)} and was not made ready."]
    if any(crew.alive for crew in found.crew):
        return Explanation("scheduled", [*because, "Workers are alive and do that within a second."])
    return Explanation(
        "scheduled", [*because, "That is the work of workers, and none is alive."], "pgqueue MODULE"
    )


def _aging(row: LiveRow) -> list[str]:
    """Whether a message is past its own age limit; its actor's is known to workers only."""
    try:
        message = Message.decode(row.payload)
    except DecodeError:
        return []
    max_age = message.options.get("max_age")
    try:
        age = row.now.timestamp() * 1000 - made_at(message.message_timestamp, message.options)
    except OverflowError:
        return []
    if isfinite(age) and isinstance(max_age, (int, float)) and 0 < max_age <= age:
        limit, old = span(max_age / 1000), span(age / 1000)
        return [f"It is {old} old and may be {limit} old at most: whoever claims it makes it a dead letter."]
    return []


def _tried(row: LiveRow) -> list[str]:
    """What earlier attempts of a message have ended with, a refusal of a rate limit for example."""
    try:
        options = Message.decode(row.payload).options
    except DecodeError:
        return []
    retries, traceback = options.get("retries"), options.get("traceback")
    if not isinstance(retries, int) or not 0 < retries < MOST_RETRIES:
        return []
    last = [line for line in traceback.splitlines() if line.strip()] if isinstance(traceback, str) else []
    error = f", the last time with {last[-1].strip()[:300]}" if last else ""
    return [f"It has failed {more(retries, 'time')}{error}."]


def _dead(letter: DeadLetter) -> Explanation:
    because = [
        f"It is a dead letter since {_at(letter.died_at)}: {_REASONS.get(letter.reason, letter.reason)}."
    ]
    if letter.error:
        what = "In figures" if letter.reason == "too old" else "The error"
        because.append(f"{what}: {letter.error.splitlines()[0][:300]}")
    if letter.reason == "too old":
        because.append("Requeued it would be as old: send it anew, or raise max_age first.")
        return Explanation("failed", because)
    return Explanation("failed", because, f"pgqueue dead requeue {letter.name}")


def _ended(end: End) -> Explanation:
    took = f"It waited for {span(end.wait_ms / 1000)} and ran for {span(end.run_ms / 1000)}."
    if end.status == "c":
        took = f"It had waited for {span(end.wait_ms / 1000)}."
    what = {"d": "done", "c": "cancelled", "f": "failed"}[end.status]
    because = [f"It is over: {what} {_at(end.finished_at)}.", took]
    if end.status == "f":
        because.append("Its dead letter was purged, or has been requeued and ended since.")
    return Explanation(what, because)


def _forgotten(failed: list[FailedAttempt]) -> Explanation:
    times = more(len(failed), "time")
    because = f"It has failed {times}, last {_at(failed[0].failed_at)}; how it ended is not kept any more."
    return Explanation("unknown", [because, "Outcomes are kept for a day, attempts as long as dead letters."])


def _unknown(found: Found) -> Explanation:
    because = [_NOWHERE]
    because += [
        f"Session {session.pid} ({session.detail}) has written something and not committed for {span(session.seconds)}."
        for session in found.writers
    ]
    return Explanation("unknown", because)


def _for(time: timedelta) -> str:
    return span(max(0.0, time.total_seconds()))


def _at(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S %Z}"


_TELLERS = {"running": _running, "queued": _queued, "parked": _parked, "scheduled": _scheduled}
