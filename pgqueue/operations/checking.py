"""The checks of ``pgqueue doctor``: each looks at one thing and says what would mend it."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Iterator

from ..errors import (
    DatabaseUnavailable,
    PgQueueError,
    SchemaOutdated,
    ServerOutOfMemory,
    StatementTimedOut,
)
from ..maintenance import rotator
from ..maintenance.lookout import FULL_CONNECTIONS, FULL_LOCKS, FULL_NOTIFY, OLD_IDLE_S, is_old
from ..storage import health, pauses, queues, retention, slots, workers
from ..storage.database import Connection, Database
from ..storage.refusals import first_line
from ..storage.revision import current_revision
from .crew import SILENT_S, Crew, crew_of
from .found import Check, Verdict
from .troubles import troubles
from .versions import revision, version
from .waiting import told
from .wording import more, span

__all__ = ["Check", "Verdict", "check"]

#: Seconds by which a scheduled message may be late, for which a ready one may wait although its queue is served, and
#: for which a worker may hold one that it does not run although it could.
OVERDUE_S, WAITING_S, UNSETTLED_S = 5.0, 600.0, 120.0

#: Seconds for which a slice may hold rows whose time is over, and by which two clocks may differ.
OUTLIVED_S, CLOCK_S = 300, 5.0

#: So many slots are never exceeded.
MOST_SLOTS = rotator.MAX_SLOTS

#: Seconds that a look may take once another has had no answer.
IMPATIENT_S = 1.0

#: What helps where a look has failed.
_SEE_WHY = "let the role look, or see the server's log"

#: What helps where something of a schema is gone that its revision has.
_RESTORE = "restore it from a backup: no migration makes it anew, for the revision that does has been run"

#: What gives the server room for more locks.
_MORE_LOCKS = "raise max_locks_per_transaction, and restart the server"

#: How far things are counted.
MOST_COUNTED = 10_000


def check(database: Database) -> Iterator[Check]:
    """Look at everything, one thing after the other; ends early if there is no use in going on."""
    began = time.monotonic()
    try:
        with database.bounded() as conn:
            server = health.server(conn, database.statements)
            found = current_revision(conn, database.statements)
    except PgQueueError as error:
        # Of a connection that is refused nothing tells but the text, which is English for most.
        full = isinstance(error, ServerOutOfMemory) or "out of shared memory" in str(error)
        remedy = _MORE_LOCKS if full else "check the URL, the server and its pg_hba.conf"
        yield Check("reachable", "failure", str(error), remedy)
        return
    except Exception as error:  # noqa: BLE001  # it answers, but not this
        yield Check("reachable", "failure", first_line(error), _SEE_WHY)
        return
    yield Check("reachable", "ok", f"{database.describe()} answers in {span(time.monotonic() - began)}")
    yield version(server)
    schema = revision(found, database.schema)
    yield schema
    if schema.verdict == "failure":
        return
    yield from _look_at_all(database)
    if not server.sees_all:
        yield Check("rights", "warning", "transactions and queries of other roles can't be seen",
                    "GRANT pg_read_all_stats TO the role")  # fmt: skip
    yield from _settings(server)


def _look_at_all(database: Database) -> Iterator[Check]:
    """Each look by itself: one that has no answer, for somebody holds a lock, hides nothing of the others."""
    patience_s: float | None = None
    for look in _LOOKS:
        try:
            with database.bounded(patience_s) as conn:
                checks = list(look(conn, database))
        except StatementTimedOut as error:
            patience_s = IMPATIENT_S
            what = look.__name__.strip("_").replace("_", " ")
            checks = [Check("unanswered", "failure", f"{what}: {error}", "see lock waits, and what holds it")]
        except SchemaOutdated as error:
            missing = first_line(error.__cause__ or error)
            checks = [
                Check(
                    "schema", "failure", f"is said to be at this release's revision, but {missing}", _RESTORE
                )
            ]
        except ServerOutOfMemory as error:
            checks = [Check("locks", "failure", str(error), _MORE_LOCKS)]
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  # the others have answers
            what = look.__name__.strip("_").replace("_", " ")
            checks = [Check("unanswered", "failure", f"{what}: {first_line(error)}", _SEE_WHY)]
        yield from checks


def _snapshots(conn: Connection, database: Database) -> Iterator[Check]:
    holders = health.snapshot_holders(conn, database.statements)
    oldest = next((holder for holder in holders if is_old(holder)), None)
    if oldest is None:
        yield Check("snapshots", "ok", "no old transaction keeps dead rows from being cleaned away")
        return
    age = span(oldest.age_s) if oldest.age_s is not None else more(oldest.age_xids or 0, "transaction")
    remedy = {
        "session": _psql(f"pg_terminate_backend({oldest.name})"),
        "prepared transaction": _rollback_prepared(oldest.name),
        "replication slot": _psql(f"pg_drop_replication_slot('{oldest.name}')"),
    }[oldest.kind]
    yield Check(
        "snapshots", "warning", f"{oldest.kind} {oldest.name} goes back {age} ({oldest.detail}); claims stay fast, "
        "vacuum of all tables waits for it", remedy,
    )  # fmt: skip


def _rollback_prepared(name: str) -> str:
    statement = "ROLLBACK PREPARED '{}'".format(name.replace("'", "''"))
    # Whoever prepares may call it anything, and this line is there to be copied into a shell.
    is_plain = re.fullmatch(r"[\w .:,/'-]+", statement)
    return f'psql -c "{statement}"' if is_plain else f"psql -c {shlex.quote(statement)}"


def _psql(call: str) -> str:
    return f'psql -c "SELECT {call}"'


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
    elif slow > rotator.SLOW_S:
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
        if queue.queue_name not in paused
        and not any(each.takes_messages and each.serves(queue.queue_name) for each in alive)
    ]
    if alive and unserved:
        yield Check("queues", "failure", f"messages wait in {', '.join(unserved)}, which no worker serves",
                    _who_would_serve(unserved, alive))  # fmt: skip
    elif alive:
        yield _waiting([queue for queue in waiting if queue.queue_name not in paused])


def _who_would_serve(queue_names: list[str], alive: list[Crew]) -> str:
    quiet = next(
        (each for each in alive if each.state == "quiet" and any(map(each.serves, queue_names))), None
    )
    if quiet is not None:
        return f"{quiet.name} is quiet: pgqueue workers work {quiet.short_id}"
    return f"pgqueue MODULE --queues {' '.join(queue_names)}"


def _waiting(waiting: list[queues.QueueFigures]) -> Check:
    slow = max(waiting, key=lambda queue: queue.oldest_age_s or 0, default=None)
    if slow is None or (slow.oldest_age_s or 0) < WAITING_S:
        return Check("queues", "ok", "every queue in which messages wait is served")
    return Check("queues", "warning", f"a message has waited in {slow.queue_name} for {span(slow.oldest_age_s or 0)}",
                 "more workers or threads; or their logs say why they claim none")  # fmt: skip


def _listeners(conn: Connection, database: Database) -> Iterator[Check]:
    signs = health.signs_of_life(conn, database.statements)
    polling = [sign.name for sign in signs if sign.silent_s < SILENT_S and not sign.listens]
    if polling:
        yield Check("listeners", "warning", f"{', '.join(polling)} can't be woken, and polls: its connection is a "
                    "pooler's, or was lost just now", "PGQUEUE_WORKER_URL, a way past the pooler")  # fmt: skip
    else:
        yield Check("listeners", "ok", "every worker can be woken")


def _acks(conn: Connection, database: Database) -> Iterator[Check]:
    stuck = health.unsettled(conn, database.statements, longer_s=UNSETTLED_S)
    if not stuck:
        yield Check("acks", "ok", "no worker holds messages that it does not run")
        return
    worst = stuck[0]
    found = (
        f"{worst.host}:{worst.pid} has held {more(worst.messages, 'message')} for {span(worst.held_s)} and runs none "
        "of them, though it could: what became of them can't be written, or it is stuck"
    )
    yield Check("acks", "warning", found, "its log says why; stopping it gives them to others")


def _retention(conn: Connection, database: Database) -> Iterator[Check]:
    late = retention.outlived(conn, database.statements, for_s=OUTLIVED_S)
    if late:
        table, _ = late[0]
        yield Check("retention", "warning", f"{more(len(late), 'slice')} of old {table} can't be emptied, or no worker "
                    "does it", "end what reads them: pg_dump, or an old transaction")  # fmt: skip
    else:
        yield Check("retention", "ok", "what has outlived its time is gone")


def _lock_waits(conn: Connection, database: Database) -> Iterator[Check]:
    waits = [told(wait) for wait in health.lock_waits(conn, database.statements)]
    long = next((wait for wait in waits if wait.long), None)
    if long is not None:
        yield Check("lock waits", "warning", long.found, long.remedy)
    else:
        brief = "for more than a moment " if waits else ""
        yield Check("lock waits", "ok", f"no session waits {brief}for a lock on our tables")


def _locks(conn: Connection, database: Database) -> Iterator[Check]:
    locks = health.locks(conn, database.statements)
    found = f"{locks.taken:,} taken of about {locks.room:,} that the server has room for"
    if locks.share <= FULL_LOCKS:
        yield Check("locks", "ok", found)
        return
    who = "a prepared transaction" if locks.pid is None else f"session {locks.pid}"
    detail = f" ({locks.detail})" if locks.detail else ""
    end = "see pg_prepared_xacts" if locks.pid is None else _psql(f"pg_terminate_backend({locks.pid})")
    yield Check(
        "locks", "failure" if locks.share >= 1 else "warning",
        f"{found}; {who} has {locks.most:,} of them{detail}. With no room left statements fail, anybody's",
        f"{end}, or {_MORE_LOCKS}",
    )  # fmt: skip


def _disk(conn: Connection, database: Database) -> Iterator[Check]:
    full = health.disk_is_full(conn, database.statements)
    if full is None:
        yield Check("disk", "ok", "the server can write files")
    else:
        yield Check("disk", "failure", full, "free space on the server's disk, or make it larger")


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
        full = f"their queue is {server.notify_usage:.0%} full; once full, commits that notify fail, but for ours"
        yield Check(
            "notifications", "failure", full, "end the session that listens and sleeps in a transaction"
        )
    else:
        yield Check("notifications", "ok", f"their queue is {server.notify_usage:.0%} full")
    found = f"{server.connections} of {server.max_connections} in use"
    if server.connections_share > FULL_CONNECTIONS:
        yield Check(
            "connections", "warning", found, "raise max_connections, or pool those of the application"
        )
    else:
        yield Check("connections", "ok", found)
    yield from _state(server)
    if not server.fsync or not server.full_page_writes:
        off = "fsync" if not server.fsync else "full_page_writes"
        yield Check("durability", "failure", f"{off} is off: a crash of the server can lose or ruin everything",
                    f"set {off} = on in postgresql.conf")  # fmt: skip
    elif server.synchronous_commit == "off":
        yield Check("durability", "warning", "synchronous_commit is off: a crash loses what was sent just before",
                    "set synchronous_commit = on for the roles that send")  # fmt: skip
    else:
        yield Check("durability", "ok", f"fsync is on, synchronous_commit is {server.synchronous_commit}")


def _state(server: health.Server) -> Iterator[Check]:
    if server.read_only:
        yield Check("writable", "failure", "the server takes no writes: it is a standby, or set to read only",
                    "let the URL lead to the primary (target_session_attrs=read-write), or reset "
                    "default_transaction_read_only")  # fmt: skip
    else:
        yield Check("writable", "ok", "the server takes writes")
    apart_s = time.time() - server.clock_s
    if abs(apart_s) > CLOCK_S:
        way = "ahead of" if apart_s > 0 else "behind"
        yield Check("clock", "warning", f"this machine's clock is {span(abs(apart_s))} {way} the server's; times in "
                    "logs go by the machine's, decisions by the server's", "synchronise both, by NTP")  # fmt: skip
    else:
        yield Check("clock", "ok", "this machine's clock and the server's agree")


def _faults(conn: Connection, database: Database) -> Iterator[Check]:
    yield troubles(workers.list_troubled(conn, database.statements))


_LOOKS: tuple[Callable[[Connection, Database], Iterator[Check]], ...] = (
    _lock_waits,
    _locks,
    _workers,
    _listeners,
    _acks,
    _faults,
    _paused,
    _scheduled,
    _dead,
    _retention,
    _ring,
    _snapshots,
    _idle,
    _disk,
)
