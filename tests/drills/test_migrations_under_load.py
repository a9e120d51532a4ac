"""Migrations on a queue in use: nobody waits long for one, nor for one that waits for a reader."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest
from alembic.script import ScriptDirectory

from pgqueue import schema
from tests.support.eventually import eventually
from tests.support.postgres import Databases
from tests.support.processes import Process

from .checks import Verdicts
from .conftest import Scale

#: What senders and claims do to the tables, in the form that all revisions know.
WRITE = """
WITH message AS (
    INSERT INTO pgqueue.messages (id, xid, enqueued_at, message_id, lane, slot, attempts, actor_name, payload)
    SELECT
        nextval('pgqueue.message_seq'), pg_current_xact_id()::text::bigint, now(), gen_random_uuid(), 1, last_value, 0,
        'nobody', ''
    FROM pgqueue.open_slot
    RETURNING xid, id, lane, slot
)
INSERT INTO pgqueue.ready (xid, id, lane, slot) SELECT xid, id, lane, slot FROM message
"""
TAKE = "DELETE FROM pgqueue.ready WHERE id IN (SELECT id FROM pgqueue.ready LIMIT 1 FOR UPDATE SKIP LOCKED)"

CLAIM = """
WITH taken AS (
    DELETE FROM pgqueue.ready WHERE id IN (SELECT id FROM pgqueue.ready LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING slot, id
)
INSERT INTO pgqueue.leases (owner, slot, ids) SELECT gen_random_uuid(), slot, ARRAY[id] FROM taken
"""

#: The end of a message that is retried: it locks the tables in another order than a claim.
ACK = f"""
WITH done AS (
    DELETE FROM pgqueue.leases WHERE lid IN (SELECT lid FROM pgqueue.leases LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING ids
),
outcome AS (
    INSERT INTO pgqueue.outcomes
        (id, finished_at, message_id, lane, wait_ms, run_ms, slice, attempts, status, actor_name)
    SELECT ids[1], now(), gen_random_uuid(), 1, 0, 0, 0, 0, 'd', 'nobody' FROM done
),
{WRITE.replace("WITH message", "message")}
"""
LIMIT = "UPDATE pgqueue.rate_limits SET value = value + 1 WHERE key = '1'"

#: So many rows in each table that grows with use, as the first revision knows them; half of the messages are held.
FILL = [
    """
    INSERT INTO pgqueue.messages (id, xid, enqueued_at, message_id, lane, slot, attempts, actor_name, payload)
    SELECT n, 1, now(), gen_random_uuid(), 1, 0, 0, 'nobody', 'payload' FROM generate_series(1, 2 * {rows}) AS n
    """,
    "INSERT INTO pgqueue.ready (xid, id, lane, slot) SELECT 1, n, 1, 0 FROM generate_series(1, {rows}) AS n",
    """
    INSERT INTO pgqueue.leases (owner, slot, ids)
    SELECT gen_random_uuid(), 0, ARRAY[{rows} + n] FROM generate_series(1, {rows}) AS n
    """,
    """
    INSERT INTO pgqueue.scheduled
        (id, xid, due_at, enqueued_at, message_id, lane, attempts, actor_name, payload)
    SELECT n, 1, now() + interval '1 day', now(), gen_random_uuid(), 1, 0, 'nobody', 'payload'
    FROM generate_series(1, {rows}) AS n
    """,
    """
    INSERT INTO pgqueue.outcomes
        (id, finished_at, message_id, lane, wait_ms, run_ms, slice, attempts, status, actor_name)
    SELECT n, now(), gen_random_uuid(), 1, 0, 0, n % 16, 0, 'd', 'nobody' FROM generate_series(1, {rows}) AS n
    """,
    """
    INSERT INTO pgqueue.results (stored_at, expires_at, slice, key, value)
    SELECT now(), now() + interval '1 day', n % 33, n, 'value' FROM generate_series(1, {rows}) AS n
    """,
    """
    INSERT INTO pgqueue.dead_letters
        (message_id, queue_name, priority, actor_name, attempts, reason, payload)
    SELECT gen_random_uuid(), 'default', 0, 'nobody', 0, 'failed', 'payload' FROM generate_series(1, {rows}) AS n
    """,
    """
    INSERT INTO pgqueue.workers (owner, lock_key, host, pid, threads)
    SELECT gen_random_uuid(), n, 'host', n, 8 FROM generate_series(1, 1000) AS n
    """,
    "INSERT INTO pgqueue.lanes (queue_name, priority) VALUES ('default', 0)",
    "SELECT setval('pgqueue.message_seq', 2 * {rows} + 1)",
]
FILL_LIMITS = """
INSERT INTO pgqueue.rate_limits (key, value, expires_at)
SELECT n, 0, now() + interval '1 day' FROM generate_series(1, {rows}) AS n
"""

TABLES = """
SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'pgqueue'::regnamespace AND relkind IN ('r', 'p')
"""

#: How often a migration runs into the reader before that ends.
MEETINGS = 3

#: Seconds by which a migration may make the longest wait longer, and how often that is tried: what else runs on the
#: machine makes a wait longer, and nothing makes one shorter for which a lock was held.
LONGEST_HOLD_S, ROUNDS = 0.1, 5

#: The same where more programs want to run than there are processors: a migration that takes three times as long holds
#: its locks three times as long.
LONGEST_HOLD_IF_BUSY_S = 0.5


class Traffic:
    """Writes and takes messages, each in a transaction, until it is left.

    Attributes:
      transactions: How many have been committed.
      longest_s: How long the longest of them took.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.transactions = 0
        self.longest_s = 0.0
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            with psycopg.connect(self._url) as conn:
                while not self._stopping.is_set():
                    began = time.monotonic()
                    conn.execute(WRITE)
                    conn.execute(TAKE)
                    conn.commit()
                    self.longest_s = max(self.longest_s, time.monotonic() - began)
                    self.transactions += 1
        except BaseException as error:  # noqa: BLE001  # told at the end
            self.error = error

    def goes_on(self) -> None:
        """Wait until it has committed a few more."""
        before = self.transactions

        def look() -> None:
            assert self.error is None
            assert self.transactions > before + 3

        eventually(look, within_s=20.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        assert self.error is None, self.error


def revisions() -> list[str]:
    """All of them, the oldest first."""
    return [script.revision for script in ScriptDirectory(str(schema.script_location())).walk_revisions()][
        ::-1
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_each_revision_on_a_queue_in_use(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader holds it up three times: it lets go, the traffic goes on, and it comes again."""
    first, *later = revisions()
    schema.upgrade(empty_database_url, revision=first)
    met = {}
    with psycopg.connect(empty_database_url) as reader, Traffic(empty_database_url) as traffic:
        for revision in later:
            met[revision] = migrate(empty_database_url, revision, reader, traffic, monkeypatch)
        assert schema.current(empty_database_url) == schema.head()
        traffic.goes_on()
    print(f"{met}; the longest transaction beside them took {traffic.longest_s * 1000:.0f} ms")
    # Some make tables of their own and wait for nobody.
    assert max(met.values()) >= MEETINGS


def migrate(
    url: str,
    revision: str,
    reader: "psycopg.Connection[tuple[Any, ...]]",
    traffic: Traffic,
    monkeypatch: pytest.MonkeyPatch,
) -> int:
    """Migrate beside a reader of all tables, which ends at the third meeting; return how many there were."""
    tables = [row[0] for row in reader.execute(TABLES).fetchall()]
    reader.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")
    met = 0

    def pause(_seconds: float) -> None:
        nonlocal met
        met += 1
        traffic.goes_on()
        if met == MEETINGS:
            reader.rollback()

    monkeypatch.setattr(schema, "pause", pause)
    schema.upgrade(url, revision=revision)
    reader.rollback()
    return met


class Probe(threading.Thread):
    """One session that does the same again and again, a few milliseconds apart, and notes how long each took."""

    def __init__(self, url: str, statement: str) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._statement = statement.encode()
        self.stopping = threading.Event()
        self.longest_s = 0.0
        self.times = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as conn:
                while not self.stopping.wait(0.002):
                    began = time.monotonic()
                    conn.execute(self._statement)
                    self.longest_s = max(self.longest_s, time.monotonic() - began)
                    self.times += 1
        except BaseException as error:  # noqa: BLE001  # told at the end
            self.error = error

    def goes_on(self) -> None:
        """Wait until it has done it a few times more."""
        before = self.times

        def look() -> None:
            assert self.error is None, self.error
            assert self.times > before + 3

        eventually(look, within_s=20.0)


@contextmanager
def probing(url: str, *, limits: bool) -> Iterator[dict[str, Probe]]:
    """Probes by name: of what senders and workers do, and limiters if there are any."""
    statements = {"send": WRITE, "claim": CLAIM, "ack": ACK} | ({"limit": LIMIT} if limits else {})
    probes = {name: Probe(url, statement) for name, statement in statements.items()}
    for probe in probes.values():
        probe.start()
    try:
        yield probes
    finally:
        for probe in probes.values():
            probe.stopping.set()
        for probe in probes.values():
            probe.join()


def longest_beside(probes: dict[str, Probe], *words: str) -> dict[str, float]:
    """The longest wait of each probe in seconds while `pgqueue migrate` runs, in a process of its own."""
    for probe in probes.values():
        probe.goes_on()
        probe.longest_s = 0.0
    with Process(["-m", "pgqueue", "migrate", *words]) as process:
        assert process.wait() == ("--check" in words), process.output
    for probe in probes.values():
        probe.goes_on()
    return {name: probe.longest_s for name, probe in probes.items()}


def measured(url: str, *, since: str, rows: int, keys: int) -> tuple[dict[str, float], dict[str, float]]:
    """The longest waits beside a look at the schema, which changes nothing, and beside the migration to the head."""
    schema.upgrade(url, revision=since)
    limits = since != revisions()[0]
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in [*FILL, *([FILL_LIMITS] if limits else [])]:
            count = keys if statement is FILL_LIMITS else rows
            conn.execute(statement.replace("{rows}", str(count)).encode())
        conn.execute("VACUUM ANALYZE")
    with probing(url, limits=limits) as probes:
        quiet = longest_beside(probes, "--check", "--url", url)
        busy = longest_beside(probes, "--url", url)
    assert schema.current(url) == schema.head()
    return quiet, busy


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "steps", [pytest.param("all", marks=pytest.mark.long), "all but the first", "the newest"]
)
def test_nobody_waits_long_for_a_migration_in_one_go(
    databases: Databases, scale: Scale, report: Callable[..., None], steps: str
) -> None:
    """As `pgqueue migrate` runs it: what one revision locks stays locked until the last has run."""
    since = revisions()[{"all": 0, "all but the first": 1, "the newest": -2}[steps]]
    added: list[float] = []
    waits: dict[str, str] = {}
    loads: list[float] = []
    while not added or (min(added) > LONGEST_HOLD_S and len(added) < scale(1, ROUNDS)):
        url = databases.create(migrated=False)
        quiet, busy = measured(url, since=since, rows=scale(2_000, 50_000), keys=scale(2_000, 20_000))
        databases.drop(url)
        added.append(max(busy[name] - quiet[name] for name in busy))
        loads.append(os.getloadavg()[0])
        waits = {f"{name}_ms": f"{busy[name] * 1000:.0f} ({quiet[name] * 1000:.0f})" for name in busy}
    bound_s = LONGEST_HOLD_S if min(loads) <= (os.cpu_count() or 1) else LONGEST_HOLD_IF_BUSY_S
    report(Verdicts(), steps=steps, rounds=len(added), bound_ms=bound_s * 1000, **waits)
    assert not scale.full or min(added) <= bound_s, (added, loads, waits)


def test_no_revision_waits_for_a_lock_longer_than_a_tenth_of_a_second() -> None:
    """Nor does its way back. Who comes behind its request waits as long as that; a test that needs no server."""
    ways = {
        f"{way} {revision}": text
        for way, text_of in (("up", upgrade_of), ("down", downgrade_of))
        for revision in revisions()
        for text in [text_of(revision)]
    }
    for name, text in ways.items():
        first = re.search(
            r"^\s*(ALTER|DROP|CREATE (?!SCHEMA|TABLE)|LOCK|UPDATE|INSERT|DELETE|WITH)\b", text, re.MULTILINE
        )
        limits = [
            (found.start(), int(found[1]))
            for found in re.finditer(r"SET LOCAL lock_timeout = '(\d+)ms'", text)
        ]
        assert limits, name
        assert first is None or limits[0][0] < first.start(), name
        assert max(limit for _, limit in limits) <= 100, name
        assert text.count("lock_timeout") == len(limits), name


def upgrade_of(revision: str) -> str:
    """The SQL of one step, without what comes before the revision itself."""
    before = ScriptDirectory(str(schema.script_location())).get_revision(revision).down_revision
    return schema.as_sql(revision=revision, since=str(before or "base"), bare=True).partition("-- Running")[2]


def downgrade_of(revision: str) -> str:
    """The same for the way back."""
    before = ScriptDirectory(str(schema.script_location())).get_revision(revision).down_revision
    return schema.downgrade_as_sql(revision=str(before or "base"), since=revision, bare=True).partition(
        "-- Running"
    )[2]
