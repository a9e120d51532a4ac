"""The database's health: every check of ``pgqueue doctor`` with its verdict, and what mends it."""

from __future__ import annotations

from ...operations.checking import check
from ..endpoint import Answer, Visit

_WORST = ("failure", "warning", "ok")

#: What each check is about, for those who have never heard of it.
ABOUT = {
    "reachable": "Whether the server answers, and lets us in.",
    "version": "Which PostgreSQL it is; 15 is the oldest that will do.",
    "schema": "Whether the tables are those that this release works with.",
    "workers": "Whether anybody is there to run messages.",
    "queues": "Whether every queue in which messages wait is served by a worker.",
    "listeners": "Whether workers can be woken when a message is sent; the others ask each second.",
    "acks": "What workers hold they run, and what they have run is recorded.",
    "pauses": "What is paused stays so, for all workers, until somebody resumes it.",
    "scheduled": "Whether messages become ready when they are due: workers see to that, each second.",
    "dead letters": "Messages that were given up; they are kept for seven days.",
    "retention": "Outcomes are kept for a day, results until they expire.",
    "slots": "Messages lie in a ring of slots, each of which is emptied at once when all of it is done.",
    "snapshots": "A transaction that stays open keeps dead rows from being cleaned away, in all tables.",
    "idle transactions": "A session that sleeps in a transaction holds its locks and its snapshot.",
    "notifications": "Workers are woken by notifications; once their queue is full, commits fail.",
    "connections": "Each worker process needs three.",
    "disk": "Whether the server can write files.",
    "writable": "Whether the server takes writes; a standby does not.",
    "clock": "Whether this machine and the server agree on the time.",
    "rights": "Whether this role sees what others do.",
    "durability": "What a crash of the server could lose.",
}


def page(visit: Visit) -> Answer:
    """Look at everything; what is wrong comes first."""
    checks = sorted(check(visit.site.database), key=lambda each: _WORST.index(each.verdict))
    counts = {verdict: sum(each.verdict == verdict for each in checks) for verdict in _WORST}
    down = any(each.name == "reachable" and each.verdict == "failure" for each in checks)
    return Answer("health.html", {
        "checks": [
            {
                "name": each.name, "verdict": each.verdict, "found": each.found,
                "remedy": None if each.verdict == "ok" else each.remedy, "about": ABOUT.get(each.name, ""),
            }
            for each in checks
        ],
        "counts": counts,
    }, 503 if down else 200)  # fmt: skip
