"""The checks of ``pgqueue doctor``: each looks at one thing and says what would mend it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ..errors import PgQueueError
from ..storage import health, pauses, queues, slots
from ..storage.database import REQUIRED_REVISION, Connection, Database
from ..storage.revision import current_revision
from .crew import Crew, crew_of
from .wording import more, span

Verdict = Literal["ok", "warning", "failure"]

#: The oldest server that is supported, as server_version_num.
OLDEST_VERSION = 150_000

#: Seconds from which a transaction or snapshot is old, and from which an idle transaction is.
OLD_SNAPSHOT_S, OLD_IDLE_S = 300.0, 60.0

#: Transactions from which a snapshot without an age in seconds (that of a replication slot) is old.
OLD_SNAPSHOT_XIDS = 1_000_000

#: Seconds by which a scheduled message may be late, and for which a slot may take to be emptied.
OVERDUE_S, CLOSING_S = 5.0, 600.0

#: As rotator.MAX_SLOTS: so many slots are never exceeded.
MOST_SLOTS = 64

#: Shares from which the queue of notifications and the connections are nearly full.
FULL_NOTIFY, FULL_CONNECTIONS = 0.5, 0.8

#: How far things are counted.
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class Check:
    """What one look has found; ``remedy`` is the command or setting that mends it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str | None = None


def check(database: Database) -> Iterator[Check]:
    """Look at everything, one thing after the other; ends early if there is no use in going on."""
    began = time.monotonic()
    try:
        with database.bounded() as conn:
            server = health.server(conn, database.statements)
            found = current_revision(conn, database.statements)
    except PgQueueError as error:
        yield Check("reachable", "failure", str(error), "check the URL, the server and its pg_hba.conf")
        return
    yield Check("reachable", "ok", f"{database.describe()} answers in {span(time.monotonic() - began)}")
    yield _version(server)
    schema = _schema(found, database.schema)
    yield schema
    if schema.verdict == "failure":
        return
    for look in _LOOKS:
        with database.bounded() as conn:
            yield from look(conn, database)
    if not server.sees_all:
        yield Check(
            "rights",
            "warning",
            "transactions of other roles can't be seen",
            "GRANT pg_read_all_stats TO the role",
        )
    yield from _settings(server)


def _version(server: health.Server) -> Check:
    if server.version < OLDEST_VERSION:
        return Check(
            "version", "failure", f"PostgreSQL {server.version_text}", "upgrade to PostgreSQL 15 or newer"
        )
    return Check("version", "ok", f"PostgreSQL {server.version_text}")


def _schema(found: str | None, name: str) -> Check:
    if found is None:
        return Check("schema", "failure", f"there is no schema {name!r} of ours", "pgqueue migrate")
    if found < REQUIRED_REVISION:
        return Check(
            "schema", "failure", f"{found}; this release needs {REQUIRED_REVISION}", "pgqueue migrate"
        )
    newer = "" if found == REQUIRED_REVISION else f", newer than this release's {REQUIRED_REVISION}"
    return Check("schema", "ok", f"{found}{newer}")


def _snapshots(conn: Connection, database: Database) -> Iterator[Check]:
    holders = health.snapshot_holders(conn, database.statements)
    oldest = next((holder for holder in holders if _is_old(holder)), None)
    if oldest is None:
        yield Check("snapshots", "ok", "no old transaction keeps dead rows from being cleaned away")
        return
    age = span(oldest.age_s) if oldest.age_s is not None else more(oldest.age_xids or 0, "transaction")
    remedy = {
        "session": _psql(f"pg_terminate_backend({oldest.name})"),
        "prepared transaction": f"psql -c \"ROLLBACK PREPARED '{oldest.name}'\"",
        "replication slot": _psql(f"pg_drop_replication_slot('{oldest.name}')"),
    }[oldest.kind]
    yield Check(
        "snapshots", "warning", f"{oldest.kind} {oldest.name} goes back {age} ({oldest.detail}); claims stay fast, "
        "vacuum of all tables waits for it", remedy,
    )  # fmt: skip


def _psql(call: str) -> str:
    return f'psql -c "SELECT {call}"'


def _is_old(holder: health.SnapshotHolder) -> bool:
    if holder.age_s is None:
        return (holder.age_xids or 0) > OLD_SNAPSHOT_XIDS
    return holder.age_s > OLD_SNAPSHOT_S


def _idle(conn: Connection, database: Database) -> Iterator[Check]:
    idle = health.idle_transactions(conn, database.statements, longer_s=OLD_IDLE_S)
    if not idle:
        yield Check("idle transactions", "ok", "no session sleeps in a transaction")
        return
    first = idle[0]
    yield Check(
        "idle transactions", "warning",
        f"session {first.pid} has been idle in a transaction for {span(first.seconds)} ({first.detail})",
        _psql(f"pg_terminate_backend({first.pid})") + ", and set idle_in_transaction_session_timeout",
    )  # fmt: skip


def _ring(conn: Connection, database: Database) -> Iterator[Check]:
    ring = slots.list_slots(conn, database.statements)
    closing = [slot for slot in ring if slot.state == "closing"]
    free = sum(slot.state == "free" for slot in ring)
    found = f"{more(len(ring), 'slot')}: {len(closing)} being emptied, {free} free"
    slow = max((slot.age_s for slot in closing), default=0.0)
    if not free and len(ring) >= MOST_SLOTS:
        yield Check("slots", "failure", f"{found}; the open one can't be left, and grows",
                    "end the oldest transaction (above), or let workers catch up")  # fmt: skip
    elif slow > CLOSING_S:
        yield Check("slots", "warning", f"{found}, one for {span(slow)}: a backlog is in it, or a transaction that "
                    "wrote into it is open", "see pgqueue queues, and the checks below")  # fmt: skip
    else:
        yield Check("slots", "ok", found)


def _scheduled(conn: Connection, database: Database) -> Iterator[Check]:
    late, longest_s = health.overdue(conn, database.statements, grace_s=OVERDUE_S, most=MOST_COUNTED)
    if not late or longest_s is None:
        yield Check("scheduled", "ok", "nothing that is due waits to become ready")
        return
    yield Check(
        "scheduled", "failure",
        f"{more(late, 'message', most=MOST_COUNTED)} due and not made ready, the first for {span(longest_s)}",
        "workers do that: pgqueue MODULE",
    )  # fmt: skip


def _workers(conn: Connection, database: Database) -> Iterator[Check]:
    crew = crew_of(conn, database)
    alive = [each for each in crew if each.alive]
    # As queues.MEASURING, whose other settings are in force here: the first in line is read, not sorted out.
    conn.execute("SET LOCAL enable_sort = off")
    waiting = [queue for queue in queues.figures(conn, database.statements, most=1) if queue.ready]
    yield _alive(crew, alive, bool(waiting))
    paused = {pause.name for pause in pauses.list_pauses(conn, database.statements) if pause.kind == "queue"}
    unserved = [
        queue.queue_name
        for queue in waiting
        if queue.queue_name not in paused and not any(each.serves(queue.queue_name) for each in alive)
    ]
    if alive and unserved:
        yield Check("queues", "failure", f"messages wait in {', '.join(unserved)}, which no worker serves",
                    f"pgqueue MODULE --queues {' '.join(unserved)}")  # fmt: skip
    elif alive:
        yield Check("queues", "ok", "every queue in which messages wait is served")


def _alive(crew: list[Crew], alive: list[Crew], waiting: bool) -> Check:  # noqa: FBT001
    silent = [each for each in crew if not each.alive]
    if not alive:
        verdict: Verdict = "failure" if waiting else "warning"
        return Check("workers", verdict, "no worker is alive" + (", and messages wait" if waiting else ""),
                     "pgqueue MODULE")  # fmt: skip
    threads = sum(each.threads for each in alive)
    found = f"{more(len(alive), 'worker')} alive with {more(threads, 'thread')}"
    if silent:
        return Check("workers", "warning", f"{found}; {silent[0].name} has been silent for {span(silent[0].silent_s)}",
                     "others take over what it held within a minute")  # fmt: skip
    return Check("workers", "ok", found)


def _dead(conn: Connection, database: Database) -> Iterator[Check]:
    of_a_day, in_all = health.deaths(conn, database.statements, most=MOST_COUNTED)
    if of_a_day:
        died = more(of_a_day, "message", most=MOST_COUNTED)
        yield Check("dead letters", "warning", f"{died} died in the last day", "pgqueue dead")
    else:
        yield Check("dead letters", "ok", f"none in the last day, {in_all:,} in all")


def _paused(conn: Connection, database: Database) -> Iterator[Check]:
    paused = [f"{pause.kind} {pause.name}" for pause in pauses.list_pauses(conn, database.statements)]
    if paused:
        yield Check("pauses", "warning", f"paused: {', '.join(paused)}", "pgqueue queues resume NAME")
    else:
        yield Check("pauses", "ok", "nothing is paused")


def _settings(server: health.Server) -> Iterator[Check]:
    if server.notify_usage > FULL_NOTIFY:
        full = f"their queue is {server.notify_usage:.0%} full; once full, commits fail"
        yield Check(
            "notifications", "failure", full, "end the session that listens and sleeps in a transaction"
        )
    else:
        yield Check("notifications", "ok", f"their queue is {server.notify_usage:.0%} full")
    share = server.connections / server.max_connections
    found = f"{server.connections} of {server.max_connections} in use"
    if share > FULL_CONNECTIONS:
        yield Check(
            "connections", "warning", found, "raise max_connections, or pool those of the application"
        )
    else:
        yield Check("connections", "ok", found)
    if not server.fsync or not server.full_page_writes:
        off = "fsync" if not server.fsync else "full_page_writes"
        yield Check("durability", "failure", f"{off} is off: a crash of the server can lose or ruin everything",
                    f"set {off} = on in postgresql.conf")  # fmt: skip
    elif server.synchronous_commit == "off":
        yield Check("durability", "warning", "synchronous_commit is off: a crash loses what was sent just before",
                    "set synchronous_commit = on for the roles that send")  # fmt: skip
    else:
        yield Check("durability", "ok", f"fsync is on, synchronous_commit is {server.synchronous_commit}")


_LOOKS: tuple[Callable[[Connection, Database], Iterator[Check]], ...] = (
    _workers,
    _paused,
    _scheduled,
    _dead,
    _ring,
    _snapshots,
    _idle,
)
