"""Rate limits in PostgreSQL: the statements against a model, settlements, and what stays in the table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pgqueue.engine.mailbox import Mailbox
from pgqueue.message import Message
from pgqueue.rate_limits import backend as backends
from pgqueue.rate_limits.backends import PostgresBackend, StubBackend
from pgqueue.storage import rate_limits
from pgqueue.storage.calls import Call
from pgqueue.storage.database import Connection, Database
from pgqueue.storage.rate_limits import Interval

LONG = 60_000
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def conn(database: Database) -> Iterator[Connection]:
    with database.connection() as conn:
        yield conn


def count(conn: Connection) -> int:
    row = conn.execute("SELECT count(*) FROM pgqueue.rate_limits").fetchone()
    assert row is not None
    return int(row[0])


class SettlingBroker:
    """A broker that is, or is not, in the middle of acknowledging a message."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.settling: Connection | None = None

        self.mailbox = Mailbox(database)

    def settlement_connection(self) -> Connection | None:
        return self.settling

    def arrive_with_ack(self, key: str, ttl: int, messages: Sequence[Message[Any]]) -> bool:
        return False

    def run_with_sends(self, call: Call) -> bool:
        return False

    async def run_with_sends_async(self, call: Call) -> bool:
        return False

    def owner_of_this_run(self) -> UUID | None:
        return None


def test_it_needs_either_a_broker_or_a_url(database: Database) -> None:
    with pytest.raises(TypeError, match="broker=broker"):
        PostgresBackend()
    with pytest.raises(TypeError):
        PostgresBackend(broker=SettlingBroker(database), url="postgresql://")


def test_making_one_does_not_connect() -> None:
    backend = PostgresBackend(url="postgresql://nobody@127.0.0.1:1/nowhere")
    backend.close()


def test_two_namespaces_do_not_share_keys(database_url: str) -> None:
    one, two = (PostgresBackend(url=database_url, namespace=name) for name in ("one", "two"))
    assert one.add("key", 1, LONG)
    assert two.add("key", 1, LONG)
    one.close()
    two.close()


def test_two_backends_on_a_database_share_keys(database_url: str, database: Database) -> None:
    one, two = PostgresBackend(url=database_url), PostgresBackend(broker=SettlingBroker(database))
    assert one.add("key", 1, LONG)
    assert not two.add("key", 1, LONG)
    one.close()


def undo() -> None:
    raise psycopg.Rollback


CHANGES: list[Callable[[PostgresBackend], object]] = [
    lambda backend: backend.add("key", 1, LONG),
    lambda backend: backend.incr("key", 1, 1, LONG),
    lambda backend: backend.decr("key", 1, -1, LONG),
    lambda backend: backend.incr_and_sum("key", lambda: ["key"], 1, 1, LONG),
    lambda backend: backend.wait_notify("key", LONG),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_after_hook_does_commits_with_the_acknowledgement(
    change: Callable[[PostgresBackend], object], database: Database, conn: Connection
) -> None:
    broker = SettlingBroker(database)
    backend = PostgresBackend(broker=broker)
    with database.transaction() as settlement:
        broker.settling = settlement
        change(backend)
        assert count(conn) == 0
    assert count(conn) == 1


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_after_hook_does_is_undone_with_a_failed_acknowledgement(
    change: Callable[[PostgresBackend], object], database: Database, conn: Connection
) -> None:
    broker = SettlingBroker(database)
    backend = PostgresBackend(broker=broker)
    with database.transaction() as settlement:
        broker.settling = settlement
        change(backend)
        undo()
    assert count(conn) == 0


def test_keys_are_asked_for_inside_of_the_atomic_section(postgres_limits: PostgresBackend) -> None:
    with psycopg.connect(postgres_limits.database.url) as other:

        def keys() -> list[str]:
            row = other.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
            assert row is not None
            assert row[0] >= 1
            return ["w@1"]

        assert postgres_limits.incr_and_sum("w@1", keys, 1, 1, LONG)


def test_rows_whose_time_is_over_are_purged(conn: Connection, database: Database) -> None:
    statements, ttl = database.statements, timedelta(seconds=1)
    for i in range(5):
        rate_limits.add(conn, statements, key=f"old{i}", value=1, ttl=ttl, now=EPOCH)
    rate_limits.add(conn, statements, key="new", value=1, ttl=ttl, now=EPOCH + ttl)
    assert rate_limits.purge_expired(conn, statements, 3, now=EPOCH + ttl) == 3
    assert rate_limits.purge_expired(conn, statements, now=EPOCH + ttl) == 2
    assert rate_limits.purge_expired(conn, statements, now=EPOCH + ttl) == 0
    assert rate_limits.total(conn, statements, keys=["new", "old1"], now=EPOCH + ttl) == 1


def test_a_row_that_somebody_writes_is_not_purged(conn: Connection, database: Database) -> None:
    statements, ttl = database.statements, timedelta(seconds=1)
    rate_limits.add(conn, statements, key="key", value=1, ttl=ttl, now=EPOCH)
    with database.transaction() as writing:
        rate_limits.lock(writing, statements, keys=["key"])
        rate_limits.change(writing, statements, key="key", amount=1, maximum=9, ttl=ttl)
        assert rate_limits.purge_expired(conn, statements) == 0
    assert rate_limits.purge_expired(conn, statements, now=EPOCH + ttl) == 0


def test_nearly_all_updates_are_hot(conn: Connection, postgres_limits: PostgresBackend) -> None:
    for _ in range(130):
        postgres_limits.incr("key", 1, 1000, LONG)
    with postgres_limits.database.connection() as used:
        used.execute("SELECT pg_stat_force_next_flush()")
    row = conn.execute(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'rate_limits'"
    ).fetchone()
    assert row is not None
    # Each 64th moves the row to a new index entry.
    assert row[0] - 2 <= row[1] > 0


# -- the statements and the backend in memory agree, whatever happens in whatever order

KEYS = st.sampled_from(["a@1", "a@2", "b"])
AMOUNTS = st.integers(min_value=-3, max_value=3)
LIMITS = st.integers(min_value=-4, max_value=4)
TTLS = st.sampled_from([1, 50, 1000])
INTERVALS = st.sampled_from(["a", "c"])
BUCKETS = st.sampled_from([49, 1000])
MAXIMA = st.integers(min_value=1, max_value=3)


class SameAsTheStub(RuleBasedStateMachine):
    """Does everything in both, on one clock that the test moves."""

    conn: Connection
    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.elapsed_ms = 0
        self.stub = StubBackend(clock=lambda: self.elapsed_ms)

    @initialize()
    def empty(self) -> None:
        self.conn.execute("DELETE FROM pgqueue.rate_limits")

    @property
    def now(self) -> datetime:
        return EPOCH + timedelta(milliseconds=self.elapsed_ms)

    def call(self, function: Callable[..., Any], *, ttl: int, **arguments: Any) -> Any:
        duration = timedelta(milliseconds=ttl)
        return function(self.conn, self.database.statements, ttl=duration, now=self.now, **arguments)

    @rule(ms=st.sampled_from([1, 49, 50, 999]))
    def time_passes(self, ms: int) -> None:
        self.elapsed_ms += ms

    @rule(key=KEYS, value=AMOUNTS, ttl=TTLS)
    def add(self, key: str, value: int, ttl: int) -> None:
        assert self.call(rate_limits.add, key=key, value=value, ttl=ttl) == self.stub.add(key, value, ttl)

    @rule(key=KEYS, amount=AMOUNTS, maximum=LIMITS, ttl=TTLS)
    def incr(self, key: str, amount: int, maximum: int, ttl: int) -> None:
        granted = self.call(rate_limits.change, key=key, amount=amount, maximum=maximum, ttl=ttl)
        assert granted == self.stub.incr(key, amount, maximum, ttl)

    @rule(key=KEYS, amount=AMOUNTS, minimum=LIMITS, ttl=TTLS)
    def decr(self, key: str, amount: int, minimum: int, ttl: int) -> None:
        granted = self.call(rate_limits.change, key=key, amount=-amount, minimum=minimum, ttl=ttl)
        assert granted == self.stub.decr(key, amount, minimum, ttl)

    @rule(key=INTERVALS, bucket=BUCKETS, maximum=MAXIMA)
    def count_in_bucket(self, key: str, bucket: int, maximum: int) -> None:
        interval = Interval(bucket, unit_ms=1)
        granted = self.call(rate_limits.count, key=f"{key}@", interval=interval, maximum=maximum, ttl=bucket)
        with self.on_this_clock():
            assert granted == self.stub.count_in_bucket(key, bucket, maximum)

    @rule(key=INTERVALS, window=st.integers(min_value=1, max_value=4), maximum=MAXIMA)
    def count_in_window(self, key: str, window: int, maximum: int) -> None:
        granted = self.call(
            rate_limits.count, key=f"{key}@", interval=Interval(1000, unit_ms=1000), intervals=window,
            maximum=maximum, ttl=(window + 1) * 1000,
        )  # fmt: skip
        with self.on_this_clock():
            assert granted == self.stub.count_in_window(key, window, maximum)

    @contextmanager
    def on_this_clock(self) -> Iterator[None]:
        now_ms = round(self.now.timestamp() * 1000)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backends, "current_millis", lambda: now_ms)
            yield

    @rule()
    @precondition(lambda self: self.elapsed_ms)
    def purge(self) -> None:
        rate_limits.purge_expired(self.conn, self.database.statements, now=self.now)

    @rule(keys=st.lists(KEYS, max_size=4), maximum=st.integers(min_value=0, max_value=4))
    def total(self, keys: list[str], maximum: int) -> None:
        total = rate_limits.total(self.conn, self.database.statements, keys=keys, now=self.now)
        assert (total <= maximum) == self.stub.incr_and_sum(
            "never", lambda: keys, 0, maximum, 0
        ) or maximum < 0


def test_the_statements_do_what_the_backend_in_memory_does(conn: Connection, database: Database) -> None:
    machine = type("Machine", (SameAsTheStub,), {"conn": conn, "database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
