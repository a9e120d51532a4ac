"""Orders single worker processes to go quiet, to work again, or to stop."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from ..storage import orders, worker_orders
from ..storage.database import Database
from .crew import Crew, list_crew

#: Seconds between two looks whether a worker obeys.
LOOK_S = 0.05

Verb = Literal["quiet", "work", "stop"]

#: What has come of an order: it stands now, it did before, the worker is stopping and can't be called back, it is gone,
#: or its release takes no orders.
Outcome = Literal["ordered", "already", "stopping", "gone", "too old"]

SAID: dict[tuple[Verb, Outcome], str] = {
    ("quiet", "ordered"): "is to begin no more messages",
    ("quiet", "already"): "was quiet already",
    ("work", "ordered"): "is to work again",
    ("work", "already"): "was not quiet",
    ("stop", "ordered"): "is to finish what it runs, and to stop",
    ("stop", "already"): "was to stop already",
}

_ANY_VERB: dict[Outcome, str] = {
    "stopping": "is stopping, and can't be called back",
    "gone": "has ended meanwhile",
    "too old": "is of a release that takes no orders: stop it with SIGTERM",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """The workers that a word names, and what is wrong with the word if it is not one."""

    workers: Sequence[Crew]
    problem: str | None = None


def choose(crew: Sequence[Crew], word: str) -> Chosen:
    """Find the worker that is meant by the beginning of its id, or by HOST:PID."""
    found = [each for each in crew if each.name == word or (word and each.id.startswith(word.lower()))]
    ids = {each.id for each in found}
    if len(ids) == 1:
        return Chosen(found[:1])
    if not found:
        return Chosen((), f"There is no worker {word}: `pgqueue workers` lists those that there are.")
    return Chosen((), f"{word} may be any of {', '.join(sorted(ids))}: give more of the id.")


def distinct(crew: Iterable[Crew]) -> list[Crew]:
    """Each process once, though it may claim under several names."""
    return list({each.id: each for each in crew}.values())


def order(database: Database, verb: Verb, process: UUID | None) -> Outcome:
    """Order a process something; it obeys within a second, mostly within milliseconds."""
    if process is None:
        return "too old"
    with database.bounded() as conn:
        if verb == "work":
            standing = worker_orders.withdraw(conn, database.statements, process=process)
        else:
            standing = worker_orders.give(conn, database.statements, process=process, verb=verb)
    with database.bounded() as conn:
        orders.announce(conn, database.statements)
    if standing is None:
        return "gone"
    if standing.changed:
        return "ordered"
    return "stopping" if standing.verb == "stop" and verb != "stop" else "already"


def told(verb: Verb, outcome: Outcome) -> str:
    """What has come of an order, as the rest of a sentence about the worker."""
    return SAID.get((verb, outcome)) or _ANY_VERB[outcome]


def went_well(outcome: Outcome) -> bool:
    """Whether it is as the operator wants it."""
    return outcome in {"ordered", "already"}


def obeyed(database: Database, ids: Iterable[str], *, within_s: float) -> set[str]:
    """Wait until workers do as they were ordered, or are gone; return the ids of those that did in time."""
    wanted = set(ids)
    deadline = time.monotonic() + within_s
    while True:
        waiting = {each.id for each in list_crew(database) if each.id in wanted and not each.obeys}
        if not waiting or time.monotonic() > deadline:
            return wanted - waiting
        time.sleep(LOOK_S)
