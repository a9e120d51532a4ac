"""Actors: how often they ran and failed, and how long they took, as far as outcomes tell."""

from __future__ import annotations

from ...operations import overview, pace
from ..endpoint import Answer, Visit


def page(visit: Visit) -> Answer:
    """Show the actors that have ended messages lately, and those that workers declare."""
    times = pace.times(visit.site.database, window_s=visit.window_s)
    state = overview.look(visit.site.database)
    declared = {actor for each in state.crew if each.alive for actor in each.actors or ()}
    rows = [
        {
            "name": row.actor_name, "queue": row.queue_name, "count": row.count * times.scale,
            "failed": row.failed * times.scale, "cancelled": row.cancelled * times.scale,
            "wait_ms": row.wait_ms, "run_ms": row.run_ms, "last_at": row.last_at,
            "paused": row.actor_name in state.paused_actors,
        }
        for row in times.of_actors
    ]  # fmt: skip
    seen = {row["name"] for row in rows}
    return Answer("actors.html", {
        "actors": sorted(rows, key=lambda row: -int(str(row["count"]))),
        "idle": [
            {"name": name, "paused": name in state.paused_actors}
            for name in sorted((declared | set(state.paused_actors)) - seen)
        ],
        "exact": times.scale == 1,
    })  # fmt: skip
