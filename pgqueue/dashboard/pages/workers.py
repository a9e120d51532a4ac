"""Workers: who works, and on what since when; quiet them and stop them."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from ...operations import crew, ordering
from ..endpoint import Answer, BadRequest, Done, Visit, back_to


def page(visit: Visit) -> Answer:
    """Show every process that claims messages."""
    found = crew.list_crew(visit.site.database)
    return Answer("workers.html", {
        "workers": [
            {
                "id": each.id, "state": each.state, "condition": each.condition, "ordered": each.ordered,
                "memory_bytes": each.memory_bytes, "takes_orders": each.process is not None,
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


def steer(visit: Visit) -> Done:
    """Order a worker to go quiet, to work again, or to stop."""
    action, given = visit.field("action"), visit.field("id")
    if action not in {"quiet", "work", "stop"}:
        raise BadRequest(f"There is no action {action!r}: expected quiet, work or stop.")
    try:
        process = UUID(given or "")
    except ValueError:
        raise BadRequest(f"The id of a worker is a UUID, not {given!r}.") from None
    verb = cast("ordering.Verb", action)
    known = next((each for each in crew.list_crew(visit.site.database) if each.id == str(process)), None)
    outcome = ordering.order(visit.site.database, verb, process if known is None else known.process)
    name = str(process) if known is None else known.name
    return Done(
        [f"Worker {name} {ordering.told(verb, outcome)}."],
        back_to(visit, "/workers"),
        {"outcome": outcome, "ok": ordering.went_well(outcome)},
    )
