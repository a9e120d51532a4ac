"""The first page: how much waits, how fast it goes, what runs and what fails."""

from __future__ import annotations

import time

from ...operations import acting, pace
from ...operations.overview import MOST_COUNTED, Overview
from ...operations.pace import Pace
from ...storage import dead_letters
from ...storage.dead_letters import LetterFilter, LetterGroup
from ..endpoint import Answer, Visit
from ..history import Look
from ..veil import veiled_group
from .queues import rows

#: How many buckets a chart has, and what is listed of running and failing actors.
BUCKETS, MOST_RUNNING, MOST_FAILING = 60, 8, 6

KINDS = ("ready", "running", "scheduled", "parked", "dead")


def page(visit: Visit) -> Answer:
    """Show everything at a glance."""
    look = visit.site.history.look()
    measured = pace.measure(visit.site.database, window_s=visit.window_s, buckets=BUCKETS)
    failing = _failing(visit)
    return Answer("overview.html", {
        "totals": {kind: look.depth(kind) for kind in KINDS},
        "counted_up_to": MOST_COUNTED,
        "rates": _rates(visit, measured),
        "workers": _workers(look.state),
        "queues": rows(look.state, measured),
        "paused_actors": look.state.paused_actors,
        "running": _running(look.state)[:MOST_RUNNING],
        "failing": failing,
        "charts": {"ended": _ended(measured), "depth": _depth(visit, look)},
    })  # fmt: skip


def _rates(visit: Visit, measured: Pace) -> dict[str, object]:
    """Of the last minute or the last bucket, whichever is longer; the failures are those of the whole window."""
    last = max(1, round(60 / measured.width_s))
    failed, done = (sum(measured.total(way)) for way in ("failed", "done"))
    return {
        "done": measured.rate("done", last=last),
        "failed": measured.rate("failed", last=last),
        "in": visit.site.history.rate_in(),
        "failed_in_window": failed,
        "done_in_window": done,
        "exact": measured.exact,
    }


def _workers(state: Overview) -> dict[str, int]:
    alive = [each for each in state.crew if each.alive]
    return {
        "alive": len(alive),
        "silent": len(state.crew) - len(alive),
        "threads": sum(each.threads for each in alive),
        "busy": sum(len(each.running) for each in alive),
    }


def _running(state: Overview) -> list[dict[str, object]]:
    found = [
        {
            "message_id": run.message_id, "actor": run.actor_name, "queue": run.queue_name, "since": run.since,
            "worker": each.name,
        }
        for each in state.crew
        for run in each.running
    ]  # fmt: skip
    return sorted(found, key=lambda run: str(run["since"]))


def _failing(visit: Visit) -> list[LetterGroup]:
    with visit.site.database.bounded() as conn:
        groups = dead_letters.group(
            conn, visit.site.database.statements, which=LetterFilter(), most=acting.MOST_COUNTED
        )
    return [veiled_group(visit.site.settings, group) for group in groups[:MOST_FAILING]]


def _ended(measured: Pace) -> dict[str, object]:
    """The chart of what ended, in messages a second."""
    starts = [
        measured.until_s - measured.window_s + number * measured.width_s for number in range(measured.buckets)
    ]
    rates = {
        way: [round(value / measured.width_s, 3) for value in measured.total(way)]
        for way in ("done", "failed")
    }
    return {"x": starts, **rates}


def _depth(visit: Visit, look: Look) -> dict[str, object]:
    looks = visit.site.history.looks(since_s=time.time() - visit.window_s)
    if not looks or looks[-1] is not look:
        looks.append(look)
    return {
        "x": [each.at_s for each in looks],
        **{kind: [each.depth(kind) for each in looks] for kind in ("ready", "running", "scheduled")},
    }
