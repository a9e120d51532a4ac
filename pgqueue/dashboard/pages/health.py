"""The database's health: every check of ``pgqueue doctor`` with its verdict, and what mends it."""

from __future__ import annotations

import time

from ...operations import pace
from ...operations.checking import check
from ...operations.values import plain
from ...operations.waiting import told
from ...operations.wal import LEAST_S, log_cost
from ...storage import health
from ..endpoint import Answer, Visit

#: Seconds of which the log is looked at, at most.
LOG_S = 300.0

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
    "faults": "What workers say of their own processes: duties that fail now, faults of the last five minutes.",
    "pauses": "What is paused stays so, for all workers, until somebody resumes it.",
    "scheduled": "Whether messages become ready when they are due: workers see to that, each second.",
    "dead letters": "Messages that were given up; they are kept for seven days.",
    "retention": "Outcomes are kept for a day, results until they expire.",
    "slots": "Messages lie in a ring of slots, each of which is emptied at once when all of it is done.",
    "snapshots": "A transaction that stays open keeps dead rows from being cleaned away, in all tables.",
    "idle transactions": "A session that sleeps in a transaction holds its locks and its snapshot.",
    "notifications": "Workers are woken by notifications; if their queue is full they look each second.",
    "connections": "Each worker process needs three.",
    "lock waits": "Who waits for whom on our tables; our own statements wait for 50 ms where they lock a table.",
    "locks": "All programs share one table of locks in the server; once it is full, statements fail, anybody's.",
    "unanswered": "What could not be looked at: mostly because somebody holds a lock.",
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
    # Without a database, or tables of ours, there is nothing more to look at.
    failed = {each.name for each in checks if each.verdict == "failure"}
    fit = not failed & {"reachable", "schema"}
    return Answer("health.html", {
        "log": _log(visit) if fit and "unanswered" not in failed else None,
        "lock_waits": _waits(visit) if fit else [],
        "checks": [
            {
                "name": each.name, "verdict": each.verdict, "found": each.found,
                "remedy": None if each.verdict == "ok" else each.remedy, "about": ABOUT.get(each.name, ""),
            }
            for each in checks
        ],
        "counts": counts,
    }, 503 if down else 200)  # fmt: skip


def _waits(visit: Visit) -> list[dict[str, object]]:
    """Who waits for whom, with what would end it."""
    with visit.site.database.bounded() as conn:
        waits = health.lock_waits(conn, visit.site.database.statements)
    return [{**plain(wait), "found": (one := told(wait)).found, "remedy": one.remedy} for wait in waits]


def _log(visit: Visit) -> dict[str, object]:
    """What the server has written to its log since somebody began to look, within the last minutes."""
    history = visit.site.history
    history.look()
    looks = [look for look in history.looks(since_s=time.time() - LOG_S) if look.wal is not None]
    seconds = looks[-1].at_s - looks[0].at_s if looks else 0.0
    written = (looks[-1].wal or 0) - (looks[0].wal or 0) if looks else None
    ended = 0.0
    if seconds >= LEAST_S:
        measured = pace.measure(visit.site.database, window_s=seconds, buckets=1)
        ended = sum(sum(measured.total(way)) for way in ("done", "failed", "cancelled"))
    cost = log_cost(seconds=seconds, written=written, ended=ended)
    return {
        "seconds": cost.seconds,
        "written": cost.written,
        "rate": cost.rate,
        "ended": cost.ended,
        "each": cost.each,
    }
