"""Workers: who works, and on what since when."""

from __future__ import annotations

from ...operations import crew
from ..endpoint import Answer, Visit


def page(visit: Visit) -> Answer:
    """Show every process that claims messages."""
    found = crew.list_crew(visit.site.database)
    return Answer("workers.html", {
        "workers": [
            {
                "owner": each.owner, "name": each.name, "host": each.host, "pid": each.pid, "threads": each.threads,
                "alive": each.alive, "started_at": each.started_at, "seen_at": each.seen_at, "up_s": each.up_s,
                "silent_s": each.silent_s, "held": each.held, "queues": each.queues, "actors": each.actors,
                "running": each.running,
            }
            for each in found
        ],
        "alive": sum(each.alive for each in found),
        "threads": sum(each.threads for each in found if each.alive),
    })  # fmt: skip
