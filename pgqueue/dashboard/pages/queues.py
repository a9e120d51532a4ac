"""Queues: how deep and how old they are, how fast they go; pause, resume and limit them, and pause actors."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ...operations import limiting, pace, pausing
from ...operations.overview import MOST_COUNTED, Overview, QueueState, known_queues
from ...operations.pace import Pace, Times
from ...storage.pauses import Kind
from ..arrivals import Arrivals, arrivals
from ..endpoint import Answer, BadRequest, Done, Visit, back_to
from ..history import Look

#: How many buckets a small chart has.
BUCKETS = 30


def page(visit: Visit) -> Answer:
    """Show all queues."""
    look = visit.site.history.look()
    measured = pace.measure(visit.site.database, window_s=visit.window_s, buckets=BUCKETS)
    times = pace.times(visit.site.database, window_s=visit.window_s)
    return Answer("queues.html", {
        "queues": rows(look.state, measured, times, arrivals(_looks(visit), measured)),
        "paused_actors": look.state.paused_actors,
        "counted_up_to": MOST_COUNTED,
        "exact": measured.exact,
    })  # fmt: skip


def _looks(visit: Visit) -> list[Look]:
    """Those of the window, and one bucket's before it."""
    width_s = visit.window_s / BUCKETS
    return visit.site.history.looks(since_s=time.time() - visit.window_s - width_s)


def rows(
    state: Overview, measured: Pace, times: Times | None = None, came: Mapping[str, Arrivals] | None = None
) -> list[dict[str, object]]:
    """What is shown of each queue, those with something in them first."""
    queues = sorted(state.queues, key=lambda queue: (not _matters(queue), queue.name))
    return [{**_row(queue, measured, times), **_came((came or {}).get(queue.name))} for queue in queues]


def _came(arrived: Arrivals | None) -> dict[str, object]:
    if arrived is None:
        return {"rate_in": None, "arrived": []}
    numbers = [None if number is None else round(number, 1) for number in arrived.numbers]
    return {"rate_in": arrived.rate, "arrived": numbers}


def _matters(queue: QueueState) -> bool:
    return bool(
        queue.ready
        or queue.running
        or queue.scheduled
        or queue.parked
        or queue.dead
        or queue.paused
        or queue.limit
    )


def _row(queue: QueueState, measured: Pace, times: Times | None) -> dict[str, object]:
    last = max(1, round(60 / measured.width_s))
    waiting = queue.ready or queue.parked
    return {
        "name": queue.name, "ready": queue.ready, "running": queue.running, "scheduled": queue.scheduled,
        "parked": queue.parked, "dead": queue.dead, "oldest_s": queue.oldest_s, "paused": queue.paused,
        "limit": queue.limit,
        "workers": queue.workers, "unserved": bool(waiting and not queue.workers and not queue.paused),
        "rate_out": measured.rate("done", queue.name, last=last) + measured.rate("failed", queue.name, last=last),
        "failed": sum(measured.total("failed", queue.name)),
        "ended": [round(number, 1) for number in measured.total("done", queue.name)],
        "times": None if times is None else times.of_queue(queue.name),
    }  # fmt: skip


def steer(visit: Visit) -> Done:
    """Pause or resume a queue or an actor, or limit a queue."""
    name, action, kind = (visit.field(each) for each in ("name", "action", "kind"))
    if name is not None and (action, kind) == ("limit", "queue"):
        return _limit(visit, name)
    if name is None or action not in {"pause", "resume"} or kind not in {"queue", "actor"}:
        raise BadRequest("Expected a name, the action pause, resume or limit, and the kind queue or actor.")
    # A queue whose name nobody has used yet may be paused all the same.
    which: Kind = "queue" if kind == "queue" else "actor"
    database = visit.site.database
    changed = (pausing.pause if action == "pause" else pausing.resume)(database, which, name)
    is_now = "paused" if action == "pause" else "not paused"
    said = [
        f"{kind.capitalize()} {name} {'is' if changed else 'was'} {is_now} {'now' if changed else 'already'}."
    ]
    if kind == "queue" and name not in known_queues(database):
        said.append(f"No message was ever sent to a queue {name}.")
    return Done(said, back_to(visit, "/queues"), {"changed": changed})


def _limit(visit: Visit, name: str) -> Done:
    """Have at most so many messages of a queue run at once; an empty field, or none, is for any number."""
    given = visit.field("limit")
    try:
        wanted = None if given is None or given.lower() == "none" else limiting.checked_limit(_whole(given))
    except ValueError as error:
        raise BadRequest(str(error)) from None
    database = visit.site.database
    changed = limiting.limit(database, name, wanted)
    said = "has no limit" if wanted is None else f"runs at most {wanted:,} at once"
    text = [f"Queue {name} {said} {'now' if changed else 'already'}."]
    if name not in known_queues(database):
        text.append(f"No message was ever sent to a queue {name}.")
    return Done(text, back_to(visit, "/queues"), {"changed": changed, "limit": wanted})


def _whole(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else text
