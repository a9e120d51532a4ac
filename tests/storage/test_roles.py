"""The grants that `pgqueue migrate --grants` prints are enough for each role, and not too much."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import pgqueue
from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.cli import main
from pgqueue.errors import BrokerError, DatabaseUnavailable, PermissionDenied
from pgqueue.middleware import GroupCallbacks
from pgqueue.middleware.prometheus.queues import QueueCollector
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
from pgqueue.storage import health
from pgqueue.storage.database import Database
from pgqueue.storage.roles import KINDS, grants
from tests.conftest import WorkerFor


@pytest.fixture
def as_role(database_url: str) -> Iterator[Callable[[str], str]]:
    """The database's URL for a role that has been granted what is printed for it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for kind in KINDS:
            connection.execute(f"CREATE ROLE app_{kind} LOGIN PASSWORD 'secret'".encode())
        try:
            connection.execute(grants().encode())
            yield lambda kind: make_conninfo(database_url, user=f"app_{kind}", password="secret")
        finally:
            for kind in reversed(KINDS):
                connection.execute(f"DROP OWNED BY app_{kind} CASCADE; DROP ROLE app_{kind}".encode())


@pytest.fixture
def broker_as(as_role: Callable[[str], str]) -> Iterator[Callable[[str], PostgresBroker]]:
    """The maker of brokers that connect as a role."""
    made: list[PostgresBroker] = []

    def make(kind: str) -> PostgresBroker:
        broker = PostgresBroker(as_role(kind))
        broker.add_middleware(Results(backend=PostgresBackend(broker=broker), store_results=True))
        broker.add_middleware(GroupCallbacks(LimiterBackend(broker=broker)))
        made.append(broker)
        return broker

    yield make
    for broker in made:
        broker.close()


def double(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return 2 * number


@pytest.mark.slow
def test_workers_producers_and_callers(
    broker_as: Callable[[str], PostgresBroker],
    as_global_broker: Callable[[pgqueue.Broker], None],
    worker_for: WorkerFor,
    running_workers: list[pgqueue.Worker],
) -> None:
    workers, producers, callers = map(broker_as, ["worker", "producer", "caller"])
    pgqueue.actor(broker=workers, max_retries=1, min_backoff=10)(double)
    sender = pgqueue.actor(broker=producers, actor_name="double")(double)
    caller = pgqueue.actor(broker=callers, actor_name="double")(double)
    worker_for(workers)
    sent = [sender.send(4), sender.send_with_options(args=(5,), delay=50), *sender.send_many([(6,)])]
    failing = sender.send(-1)
    as_global_broker(producers)
    with pytest.raises(PermissionDenied, match="results"):
        sent[0].get_result(block=True, timeout=1000)

    as_global_broker(callers)
    assert [message.get_result(block=True, timeout=15_000) for message in sent] == [8, 10, 12]
    group = pgqueue.group([caller.message(7)])
    group.add_completion_callback(caller.message(8))
    assert list(group.run().get_results(block=True, timeout=10_000)) == [14]
    callers.join("default", timeout=10_000)
    assert failing.status() is pgqueue.MessageStatus.FAILED
    assert callers.get_queue_message_counts("default") == (0, 0, 1)
    for broker in (producers, callers):
        with pytest.raises(PermissionDenied):
            broker.flush("default")
        with pytest.raises(PermissionDenied):
            broker.pause_queue("default")
    running_workers.pop().stop()


@pytest.mark.slow
def test_operators_act_and_readers_look(
    broker_as: Callable[[str], PostgresBroker],
    as_role: Callable[[str], str],
    worker_for: WorkerFor,
    running_workers: list[pgqueue.Worker],
    capsys: pytest.CaptureFixture[str],
) -> None:
    workers, operators, readers = map(broker_as, ["worker", "operator", "reader"])
    actor = pgqueue.actor(broker=workers, max_retries=0)(double)
    failed, waiting = actor.send(-1), actor.send_with_options(args=(1,), delay=3_600_000)
    worker_for(workers)
    while workers.get_message_status(failed.message_id) is not pgqueue.MessageStatus.FAILED:
        pass
    running_workers.pop().stop()

    looks = [["queues"], ["messages"], ["dead"], ["workers"], ["why", failed.message_id], ["doctor"]]
    for kind in ("reader", "operator"):
        for words in looks:
            code = main([*words, "--url", as_role(kind)])
            output = capsys.readouterr()
            assert "may not do this" not in output.err, (words, output.err)
            assert code in {0, 1}, (words, output.err)
    with closing(QueueCollector(Database(as_role("reader")))) as collector:
        assert {"pgqueue_queue_ready", "pgqueue_workers"} <= {metric.name for metric in collector.collect()}
    for act in (
        lambda: readers.pause_queue("default"),
        lambda: readers.cancel(waiting.message_id),
        lambda: readers.flush("default"),
        lambda: readers.enqueue(actor.message(1)),
    ):
        with pytest.raises(PermissionDenied):
            act()
    assert main(["dead", "requeue", failed.message_id, "--yes", "--url", as_role("reader")]) == 2

    assert operators.pause_queue("default")
    assert operators.resume_queue("default")
    assert operators.cancel(waiting.message_id) is pgqueue.Cancellation.CANCELLED
    assert main(["dead", "requeue", failed.message_id, "--yes", "--url", as_role("operator")]) == 0
    assert workers.get_queue_message_counts("default") == (1, 0, 0)
    operators.flush("default")
    assert workers.get_queue_message_counts("default") == (0, 0, 0)
    with psycopg.connect(as_role("operator")) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("TRUNCATE pgqueue.messages")


#: What each role may do with the registers besides reading them: draw the next value, and set any.
MAY_DRAW: dict[str, set[str]] = {
    "producer": {"message_seq", "catalog_seq"},
    "caller": {"message_seq", "catalog_seq"},
    "operator": {"message_seq", "catalog_seq"},
    "reader": set(),
}

#: As releases before granted them, and more than any of them did.
TOO_MUCH = """
    GRANT ALL ON ALL SEQUENCES IN SCHEMA pgqueue TO app_producer, app_caller, app_operator;
    GRANT INSERT, UPDATE, DELETE ON pgqueue.alembic_version TO app_worker, app_operator;
    GRANT SELECT ON pgqueue.ready TO app_producer
"""


@pytest.fixture(params=["granted once", "granted too much before"])
def once_or_again(request: pytest.FixtureRequest, database_url: str) -> None:
    """Roles of an earlier release, too, are granted what is printed now."""
    request.getfixturevalue("as_role")
    if request.param != "granted once":
        with psycopg.connect(database_url) as conn:
            conn.execute(TOO_MUCH)
            conn.execute(grants().encode())


def refused(url: str, *attempts: str) -> list[str]:
    """Those of the statements that a role may not run."""
    found = []
    with psycopg.connect(url, autocommit=True) as conn:
        for attempt in attempts:
            try:
                conn.execute(attempt.encode())
            except psycopg.errors.InsufficientPrivilege:
                found.append(attempt)
    return found


@pytest.mark.usefixtures("once_or_again")
@pytest.mark.parametrize("kind", MAY_DRAW)
def test_registers_move_only_for_who_needs_to_move_them(
    as_role: Callable[[str], str], database_url: str, kind: str
) -> None:
    with psycopg.connect(database_url) as conn:
        query = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'pgqueue'"
        names = {str(name) for (name,) in conn.execute(query)}
    assert {"open_slot", "idle_15", "lease_seq", "lanes_id_seq"} < names
    draws = {name: f"SELECT nextval('pgqueue.{name}')" for name in names}
    sets = {name: f"SELECT setval('pgqueue.{name}', 5)" for name in names}
    assert refused(as_role(kind), *sets.values()) == list(sets.values())
    assert set(refused(as_role(kind), *draws.values())) == {draws[name] for name in names - MAY_DRAW[kind]}
    assert not refused(as_role(kind), *(f"SELECT last_value FROM pgqueue.{name}" for name in names))


@pytest.mark.usefixtures("once_or_again")
@pytest.mark.parametrize("kind", ["producer", "caller", "reader"])
def test_nobody_who_sends_or_looks_stops_the_sending_of_others(
    broker_as: Callable[[str], PostgresBroker], as_role: Callable[[str], str], kind: str
) -> None:
    attack = "SELECT nextval('pgqueue.open_slot') FROM generate_series(1, 20)"
    assert refused(as_role(kind), attack) == [attack]
    sender = pgqueue.actor(broker=broker_as("producer"), queue_name="new")(double)
    sender.send(1)
    sender.send_with_options(args=(1,), delay=1000)


@pytest.mark.parametrize("is_async", [False, True])
def test_where_somebody_has_moved_the_register_a_sender_is_told(database_url: str, is_async: bool) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("SELECT setval('pgqueue.open_slot', 21)")
    broker = PostgresBroker(database_url)
    sender = pgqueue.actor(broker=broker)(double)
    with pytest.raises(
        BrokerError, match=r"Nothing of this call was written .* register open_slot.* --grants"
    ):
        asyncio.run(sender.send_async(1)) if is_async else sender.send(1)
    broker.close()


@pytest.mark.usefixtures("once_or_again")
@pytest.mark.parametrize("kind", KINDS)
def test_the_revision_is_the_owners(as_role: Callable[[str], str], kind: str) -> None:
    changes = [
        "UPDATE pgqueue.alembic_version SET version_num = version_num",
        "INSERT INTO pgqueue.alembic_version VALUES ('pgqueue_9999')",
        "DELETE FROM pgqueue.alembic_version",
        "TRUNCATE pgqueue.alembic_version",
    ]
    assert refused(as_role(kind), *changes) == changes
    look = "SELECT version_num FROM pgqueue.alembic_version"
    assert refused(as_role(kind), look) == ([look] if kind == "producer" else [])


@pytest.mark.usefixtures("once_or_again")
@pytest.mark.parametrize("delay", [None, 60_000])
def test_a_producer_sees_whether_its_message_was_written(
    broker_as: Callable[[str], PostgresBroker],
    as_role: Callable[[str], str],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    delay: int | None,
) -> None:
    """Whose answer is lost with its connection; besides it reads nothing."""
    broker = broker_as("producer")
    write = broker._sender.write

    def lose_the_answer(*what: Any) -> None:
        monkeypatch.undo()
        write(*what)
        raise DatabaseUnavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(broker._sender, "write", lose_the_answer)
    pgqueue.actor(broker=broker)(double).send_with_options(args=(2,), delay=delay)
    assert broker._sender.write == write
    counts = "SELECT (SELECT count(*) FROM pgqueue.messages) + (SELECT count(*) FROM pgqueue.scheduled)"
    with psycopg.connect(database_url) as conn:
        assert conn.execute(counts).fetchone() == (1,)
    looks = [f"SELECT FROM pgqueue.{name}" for name in ("ready", "outcomes", "results", "dead_letters")]
    assert refused(as_role("producer"), *looks) == looks


@pytest.mark.parametrize("kind", ["worker", "reader"])
def test_connections_of_other_roles_are_counted(
    as_role: Callable[[str], str], database_url: str, kind: str
) -> None:
    database = Database(as_role(kind))
    with ExitStack() as others, closing(database), database.connection() as conn:
        for _ in range(5):
            others.enter_context(psycopg.connect(database_url))
        assert health.server(conn, database.statements).connections >= 6


def test_who_grants_need_own_no_more_than_the_tables(empty_database_url: str) -> None:
    """Neither a superuser, nor somebody who may grant one role to another."""
    names = ["app_owner", *(f"app_{kind}" for kind in KINDS)]
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        for name in names:
            conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        try:
            conn.execute(f'GRANT CREATE ON DATABASE "{conn.info.dbname}" TO app_owner'.encode())
            owner = make_conninfo(empty_database_url, user="app_owner", password="secret")
            schema.upgrade(owner)
            with psycopg.connect(owner) as owning:
                owning.execute(grants().encode())
            broker = PostgresBroker(make_conninfo(empty_database_url, user="app_caller", password="secret"))
            sent = pgqueue.actor(broker=broker)(double).send(1)
            assert broker.get_message_status(sent.message_id) is pgqueue.MessageStatus.QUEUED
            broker.close()
        finally:
            for name in reversed(names):
                conn.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


@pytest.mark.parametrize("name", ["stage", "order", "user", "Odd$Name", "app_jobs", "my app_producer"])
def test_grants_are_for_the_schema_and_the_names_that_are_asked_for(
    empty_database_url: str, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    schema.upgrade(empty_database_url, name)
    prefix = 'a"b;--'
    assert main(["migrate", "--schema", name, "--grants", prefix]) == 0
    with psycopg.connect(empty_database_url) as conn:
        for kind in KINDS:
            conn.execute(psycopg.sql.SQL("CREATE ROLE {}").format(psycopg.sql.Identifier(f"{prefix}_{kind}")))
        conn.execute(capsys.readouterr().out.encode())
        found = conn.execute(
            "SELECT has_table_privilege(%s, %s, 'TRUNCATE')", (f"{prefix}_worker", f'"{name}".messages')
        ).fetchone()
        assert found == (True,)
        conn.rollback()
