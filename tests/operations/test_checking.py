"""What the doctor finds wrong, and what he says mends it."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import cast
from uuid import UUID

import pytest

from pgqueue import schema
from pgqueue.actor import actor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.maintenance import lookout
from pgqueue.operations import checking
from pgqueue.operations.checking import Check
from pgqueue.storage import health, results, retention, workers
from pgqueue.storage.database import Database
from pgqueue.storage.messages import StoredResult
from pgqueue.storage.statements import Statements
from tests.conftest import WorkerFor
from tests.support.eventually import eventually
from tests.support.postgres import with_database
from tests.support.queue import Queue


def checks(database: Database) -> dict[str, Check]:
    return {check.name: check for check in checking.check(database)}


def found(queue: Queue, name: str) -> Check:
    return checks(queue.database)[name]


def test_an_empty_schema_without_workers_is_only_warned_of(queue: Queue) -> None:
    found_now = checks(queue.database)
    assert [name for name, check in found_now.items() if check.verdict == "failure"] in ([], ["durability"])
    assert found_now["workers"] == Check("workers", "warning", "no worker is alive", "pgqueue MODULE")
    assert {"reachable", "version", "schema", "slots", "notifications", "connections"} <= set(found_now)


def test_a_busy_deployment_is_well(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    @actor
    def work() -> None: ...

    worker_for(postgres_broker)
    work.send()
    postgres_broker.join("default", timeout=10_000)

    def look() -> None:
        found_now = checks(queue.database)
        assert {name for name, check in found_now.items() if check.verdict != "ok"} <= {
            "durability",
            "rights",
        }
        assert found_now["workers"].found == "1 worker alive with 8 threads"

    eventually(look)


def test_a_server_that_can_not_be_reached_ends_the_visit() -> None:
    database = Database("postgresql://user:secret@127.0.0.1:1/nothing?connect_timeout=2")
    found_now = checks(database)
    assert list(found_now) == ["reachable"]
    assert found_now["reachable"].verdict == "failure"
    assert "secret" not in found_now["reachable"].found


def test_a_schema_that_is_missing_or_old_ends_the_visit(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    assert checks(database)["schema"] == Check(
        "schema", "failure", "there is no schema 'pgqueue' of ours", "pgqueue migrate"
    )
    schema.upgrade(empty_database_url, revision="pgqueue_0001")
    found_now = checks(database)
    assert found_now["schema"].found.startswith("pgqueue_0001; this release needs")
    assert list(found_now)[-1] == "schema"
    database.close()


def test_a_table_that_is_gone_is_told_as_that_and_the_others_are_looked_at(queue: Queue) -> None:
    queue.conn.execute("ALTER TABLE pgqueue.pauses RENAME TO gone")
    found_now = checks(queue.database)
    assert found_now["schema"].verdict == "failure"
    assert 'but relation "pgqueue.pauses" does not exist' in found_now["schema"].found
    assert "backup" in (found_now["schema"].remedy or "")
    assert found_now["retention"].verdict == "ok"


def test_a_duty_that_fails_in_a_worker_is_named_with_its_error(queue: Queue) -> None:
    owner = queue.owner()
    publish(queue, owner)
    assert found(queue, "faults") == Check("faults", "ok", "no worker has met any in the last five minutes")
    publish(queue, owner, duties={"Reaper": "no such table"}, recent={"duty_failed": 7})
    check = found(queue, "faults")
    assert (check.verdict, check.found) == ("failure", "duty_failed at here:1: Reaper fails: no such table")
    publish(queue, owner)
    assert found(queue, "faults").verdict == "ok"


def test_faults_of_the_last_minutes_are_counted(queue: Queue) -> None:
    for recent in ({"hook_failed": 5, "time_limit": 1}, {"hook_failed": 2}):
        publish(queue, queue.owner(), recent=recent)
    check = found(queue, "faults")
    assert check.verdict == "warning"
    assert check.found == (
        "here:1 (and 1 other) met in the last five minutes: hook_failed 5 times, time_limit 1 time"
    )
    queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() - interval '20 seconds'")
    assert found(queue, "faults").verdict == "ok"  # nobody knows what has become of a silent one


def publish(
    queue: Queue, owner: UUID, *, duties: dict[str, str] | None = None, recent: dict[str, int] | None = None
) -> None:
    workers.publish(
        queue.conn,
        queue.statements,
        owner=owner,
        queues=[],
        actors=[],
        running_ms={},
        duties=duties,
        recent=recent,
    )


def test_a_newer_schema_is_worked_with(queue: Queue) -> None:
    queue.conn.execute("UPDATE pgqueue.alembic_version SET version_num = 'pgqueue_9999'")
    assert found(queue, "schema").verdict == "ok"
    assert "newer than this release" in found(queue, "schema").found


def test_messages_without_workers_fail(queue: Queue) -> None:
    queue.send("x")
    assert found(queue, "workers").verdict == "failure"
    assert found(queue, "workers").found == "no worker is alive, and messages wait"


def test_a_queue_that_nobody_serves_fails_unless_it_is_paused(
    postgres_broker: PostgresBroker, worker_for: WorkerFor, queue: Queue
) -> None:
    @actor(queue_name="mail")
    def letter() -> None: ...

    worker_for(postgres_broker)
    queue.send("x", queue_name="reports")

    def look() -> None:
        assert found(queue, "queues") == Check(
            "queues",
            "failure",
            "messages wait in reports, which no worker serves",
            "pgqueue MODULE --queues reports",
        )

    eventually(look)
    postgres_broker.pause_queue("reports")
    assert found(queue, "queues").verdict == "ok"
    assert found(queue, "pauses").found == "paused: queue reports"


def test_a_silent_worker_is_named(queue: Queue) -> None:
    queue.owner()
    queue.conn.execute("UPDATE pgqueue.workers SET seen_at = now() - interval '20 seconds'")
    queue.owner()
    assert found(queue, "workers").verdict == "warning"
    assert re.search(r"here:1 has been silent for [2-5]\d s", found(queue, "workers").found)


def test_overdue_messages_fail(queue: Queue) -> None:
    queue.send("x", "y", delay_ms=3_600_000)
    assert found(queue, "scheduled").verdict == "ok"
    queue.conn.execute("UPDATE pgqueue.scheduled SET due_at = now() - interval '90 seconds'")
    assert found(queue, "scheduled").found == "2 messages due and not made ready, the first for 1 min 30 s"


def test_fresh_dead_letters_are_warned_of(queue: Queue) -> None:
    insert = """INSERT INTO pgqueue.dead_letters
        (died_at, message_id, queue_name, priority, actor_name, attempts, reason, payload)
        VALUES (now() - %s::interval, gen_random_uuid(), 'default', 0, 'work', 0, 'failed', '')"""
    queue.conn.execute(insert, ("2 days",))
    assert found(queue, "dead letters") == Check("dead letters", "ok", "none in the last day, 1 in all")
    queue.conn.execute(insert, ("1 hour",))
    assert found(queue, "dead letters").verdict == "warning"


def test_an_old_transaction_and_its_session_are_named(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookout, "OLD_SNAPSHOT_S", 0.0)
    monkeypatch.setattr(checking, "OLD_IDLE_S", 0.0)
    with queue.connect() as holder:
        holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT pg_current_xact_id()")
        pid = holder.info.backend_pid

        def look() -> None:
            found_now = checks(queue.database)
            assert found_now["snapshots"].remedy == f'psql -c "SELECT pg_terminate_backend({pid})"'
            assert "pg_current_xact_id" in found_now["snapshots"].found
            assert f"session {pid} has been idle in a transaction" in found_now["idle transactions"].found

        eventually(look)
        holder.execute("ROLLBACK")


def test_what_else_keeps_snapshots_is_told_how_to_end(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    holders = [
        health.SnapshotHolder("replication slot", "standby", "not active", None, 2_000_000),
        health.SnapshotHolder("prepared transaction", "two-phase", "app", 1_000.0, 10),
    ]
    monkeypatch.setattr(health, "snapshot_holders", lambda *_: holders)
    assert found(queue, "snapshots").remedy == "psql -c \"SELECT pg_drop_replication_slot('standby')\""
    del holders[0]
    assert found(queue, "snapshots").remedy == "psql -c \"ROLLBACK PREPARED 'two-phase'\""
    holders[0] = replace(holders[0], name="""o'clock"; touch $HOME/x; \"""")
    _, _, statement = shlex.split(found(queue, "snapshots").remedy)
    assert statement == """ROLLBACK PREPARED 'o''clock"; touch $HOME/x; \"'"""


def test_a_slot_that_is_not_emptied_and_a_full_ring_are_told(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.conn.execute(
        "UPDATE pgqueue.slots SET state = 'closing', changed_at = now() - interval '1 hour' WHERE slot = 1"
    )
    assert found(queue, "slots").verdict == "warning"
    assert "1 being emptied, 6 free, one for 1 h" in found(queue, "slots").found
    monkeypatch.setattr(checking, "MOST_SLOTS", 8)
    queue.conn.execute("UPDATE pgqueue.slots SET state = 'closing' WHERE state = 'free'")
    assert found(queue, "slots").verdict == "failure"


def test_a_worker_that_can_not_be_woken_is_named(queue: Queue) -> None:
    with queue.connect() as its:
        queue.owner(its)
        assert found(queue, "listeners") == Check("listeners", "ok", "every worker can be woken")

    def named() -> None:
        # The server notices a moment later that the connection is closed.
        assert found(queue, "listeners").verdict == "warning"

    eventually(named)
    assert found(queue, "listeners").found.startswith("here:1 can't be woken, and polls")


def test_a_worker_that_holds_what_it_does_not_run_is_named(queue: Queue) -> None:
    queue.send("one", "two")
    owner = queue.owner()
    first, _ = queue.claimed(owner)
    assert found(queue, "acks").verdict == "ok"
    queue.conn.execute("UPDATE pgqueue.leases SET claimed_at = now() - interval '5 minutes'")
    workers.publish(
        queue.conn, queue.statements, owner=owner, queues=["default"], actors=[], running_ms={first.id: 1.0}
    )
    check = found(queue, "acks")
    assert check.verdict == "warning"
    assert re.match(r"here:1 has held 1 message for 5 min( \d+ s)? and runs none", check.found)


def test_a_worker_whose_threads_are_all_busy_may_hold_more(queue: Queue) -> None:
    queue.send("one", "two")
    owner = queue.owner(threads=1)
    first, _ = queue.claimed(owner)
    queue.conn.execute("UPDATE pgqueue.leases SET claimed_at = now() - interval '5 minutes'")
    workers.publish(
        queue.conn, queue.statements, owner=owner, queues=["default"], actors=[], running_ms={first.id: 1.0}
    )
    assert found(queue, "acks").verdict == "ok"


def test_a_long_wait_in_a_queue_that_is_served_is_warned_of(queue: Queue) -> None:
    queue.owner()
    queue.send("one")
    assert found(queue, "queues").verdict == "ok"
    queue.conn.execute("UPDATE pgqueue.messages SET enqueued_at = now() - interval '20 minutes'")
    assert found(queue, "queues").verdict == "warning"
    assert "a message has waited in default for 20 min" in found(queue, "queues").found


def test_what_has_outlived_its_time_is_told(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    results.store(queue.conn, queue.statements, result=StoredResult("one", b"x", 1000))
    assert found(queue, "retention").verdict == "ok"
    (slice_,) = queue.values("SELECT slice FROM pgqueue.results")
    monkeypatch.setattr(retention, "expired_slices", lambda _: [("results", slice_)])
    assert found(queue, "retention").found == "1 slice of old results can't be emptied, or no worker does it"


def test_a_full_disk_is_found_by_writing_to_it(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(queue, "disk") == Check("disk", "ok", "the server can write files")
    full = b"DO $$ BEGIN RAISE disk_full USING MESSAGE = 'No space left on device'; END $$"
    statements = cast("Statements", {"health/spill": full})
    text = health.disk_is_full(queue.conn, statements)
    assert text == "No space left on device"
    monkeypatch.setattr(health, "disk_is_full", lambda *_: text)
    assert found(queue, "disk").verdict == "failure"
    assert found(queue, "disk").found == "No space left on device"


def test_locks_that_a_session_holds_are_counted_and_are_its_own(queue: Queue) -> None:
    before = health.locks(queue.conn, queue.statements).share
    with queue.connect() as holder:
        holder.execute("SELECT count(pg_advisory_lock(7000000 + n)) FROM generate_series(1, 500) n")
        held = health.locks(queue.conn, queue.statements)
        assert held.taken >= 500
        assert held.room > 1_000
        assert 0 < before < 1
        assert (held.most or 0) >= 500
    assert found(queue, "locks").verdict == "ok"
    assert re.fullmatch(
        r"[\d,]+ taken of about [\d,]+ that the server has room for", found(queue, "locks").found
    )


@pytest.mark.parametrize(
    ("locks", "verdict", "text", "remedy"),
    [
        (health.Locks(850, 1_000, 800, 77, "app, dump: SELECT 1"), "warning",
         "850 taken of about 1,000 that the server has room for; session 77 has 800 of them (app, dump: SELECT 1). ",
         'psql -c "SELECT pg_terminate_backend(77)", or raise max_locks_per_transaction'),
        (health.Locks(1_010, 1_000, 900, None, ""), "failure", "; a prepared transaction has 900 of them. ",
         "see pg_prepared_xacts, or raise max_locks_per_transaction"),
    ],
)  # fmt: skip
def test_a_table_of_locks_that_fills_up_is_told(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, locks: health.Locks, verdict: str, text: str, remedy: str
) -> None:
    monkeypatch.setattr(health, "locks", lambda *_: locks)
    assert found(queue, "locks").verdict == verdict
    assert text in found(queue, "locks").found
    assert (found(queue, "locks").remedy or "").startswith(remedy)


def test_a_look_that_fails_hides_nothing_of_the_others(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checks(queue.database)
    monkeypatch.setattr(health, "locks", lambda conn, _: conn.execute("SELECT 1 / 0"))
    after = checks(queue.database)
    assert (after["unanswered"].verdict, after["unanswered"].found) == ("failure", "locks: division by zero")
    assert set(before) - set(after) == {"locks"}


def test_a_server_that_tells_nothing_of_itself_ends_the_visit_with_its_words(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "server", lambda conn, _: conn.execute("SELECT 1 / 0"))
    (only,) = checking.check(queue.database)
    assert (only.name, only.verdict, only.found) == ("reachable", "failure", "division by zero")


def test_a_server_that_is_out_of_memory_is_known_by_its_code_whatever_its_language(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = b"""
        DO $$ BEGIN RAISE 'Gemeinsamer Speicher ist aufgebraucht' USING ERRCODE = 'out_of_memory'; END $$
    """
    monkeypatch.setattr(health, "server", lambda conn, _: conn.execute(full))
    (only,) = checking.check(queue.database)
    assert (only.name, only.verdict) == ("reachable", "failure")
    assert "Gemeinsamer Speicher ist aufgebraucht" in only.found
    assert only.remedy == "raise max_locks_per_transaction, and restart the server"


WELL = health.Server(
    version=180_000, version_text="18.0", fsync=True, full_page_writes=True, synchronous_commit="on", sees_all=True,
    notify_usage=0.0, connections=10, max_connections=100, read_only=False, clock_s=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("server", "name", "verdict", "text"),
    [
        (WELL, "durability", "ok", "fsync is on, synchronous_commit is on"),
        (replace(WELL, version=140_000, version_text="14.9"), "version", "failure", "PostgreSQL 14.9"),
        (replace(WELL, sees_all=False), "rights", "warning", "other roles can't be seen"),
        (replace(WELL, fsync=False), "durability", "failure", "fsync is off"),
        (replace(WELL, full_page_writes=False), "durability", "failure", "full_page_writes is off"),
        (replace(WELL, synchronous_commit="off"), "durability", "warning", "synchronous_commit is off"),
        (replace(WELL, notify_usage=0.75), "notifications", "failure", "75% full"),
        (replace(WELL, read_only=True), "writable", "failure", "takes no writes"),
        (WELL, "writable", "ok", "takes writes"),
        (WELL, "clock", "warning", "ahead of the server's"),
        (replace(WELL, clock_s=2e10), "clock", "warning", "behind the server's"),
        (replace(WELL, connections=90), "connections", "warning", "90 of 100 in use"),
    ],
)
def test_the_servers_settings_are_judged(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, server: health.Server, name: str, verdict: str, text: str
) -> None:
    monkeypatch.setattr(health, "server", lambda *_: server)
    assert found(queue, name).verdict == verdict
    assert text in found(queue, name).found


def test_a_database_that_does_not_exist_is_one_line(postgres_url: str) -> None:
    found_now = checks(Database(with_database(postgres_url, "no_such_database")))
    assert "no_such_database" in found_now["reachable"].found
    assert "\n" not in found_now["reachable"].found
