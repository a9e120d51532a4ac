"""Any schema name that the loader accepts; two in one database are independent; an ordinary role will do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import pgqueue
from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.cli import main
from pgqueue.maintenance import rotator
from pgqueue.maintenance.promoter import Promoter
from pgqueue.maintenance.pruner import Pruner
from pgqueue.maintenance.reaper import Reaper
from pgqueue.maintenance.rotator import Rotator
from pgqueue.middleware import GroupCallbacks
from pgqueue.rate_limits.backends import PostgresBackend as LimiterBackend
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend as ResultBackend
from pgqueue.storage import statements as statements_module
from pgqueue.storage.roles import KINDS, grants
from pgqueue.storage.statements import Statements

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.postgres import Databases
from ..support.queue import Queue, done, open_queue

NAMES = ["jobs", "Jobs", "_", "a1$", "select", "pgqueue_2", "x" * 57, "x" * 58, "x" * 63]
NAMES += [
    'tenant-1 "x" %s',
    "1st",
    "Ünï",
    "a.b",
    "a;b",
    "größer 🐘",
    "100 % {x} %(y)s",
    "$1",
    "ä" * 28,
    "a-" * 31,
]


@pytest.fixture
def ordinary_url(databases: Databases, empty_database_url: str) -> Iterator[str]:
    """The URL of an empty database that belongs to a role without any other right."""
    name = urlsplit(empty_database_url).path.removeprefix("/")
    role = f"{name}_owner"
    with psycopg.connect(databases.url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'".encode())
        conn.execute(f"ALTER DATABASE {name} OWNER TO {role}".encode())
    yield make_conninfo(empty_database_url, user=role, password="secret")
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER".encode())
        conn.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize(
    "name", NAMES, ids=[name if len(name) < 20 else f"{len(name)}_letters" for name in NAMES]
)
def test_a_queue_runs_in_a_schema_of_any_name(
    empty_database_url: str, worker_for: WorkerFor, name: str
) -> None:
    schema.upgrade(empty_database_url, schema=name)
    broker = PostgresBroker(empty_database_url, schema=name)
    ran: list[str] = []

    @pgqueue.actor(broker=broker, max_retries=1, min_backoff=1, max_backoff=1)
    def note(text: str) -> None:
        ran.append(text)
        if ran.count(text) == 1 and text == "again":
            raise RuntimeError("once")

    worker_for(broker, worker_threads=1)
    note.send("now")

    def look() -> None:
        assert ran == ["now"]

    eventually(look)
    # The worker is idle and has left word: from here on, senders notify.
    note.send("again")
    note.send_with_options(args=("late",), delay=50)
    broker.join("default", timeout=10_000)
    assert sorted(ran) == ["again", "again", "late", "now"]
    broker.close()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 64,
        "O'Brien",
        "a\\b",
        "a:b",
        "a\nb",
        "ä" * 29,
        "a$$b",
        "my pgqueue.x",
        "my SCHEMA pgqueue",
        "pg_own",
        "\ud83d",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be the schema"):
        Statements(name)
    with pytest.raises(ValueError, match="can't be the schema"):
        schema.as_sql(name)


@pytest.mark.parametrize("part", ["pgqueue.", "SCHEMA pgqueue", "$$", "57", "pg_"])
def test_the_refusal_says_what_a_name_may_not_hold(part: str) -> None:
    with pytest.raises(ValueError, match=f" {re.escape(part)} "):
        Statements("my SCHEMA pgqueue")


ODD = 'tenant-1 "x" %s'


@pytest.fixture
def odd_broker(empty_database_url: str) -> Iterator[PostgresBroker]:
    """A broker of a schema that has all the letters that somebody could mind."""
    schema.upgrade(empty_database_url, ODD)
    broker = PostgresBroker(empty_database_url, schema=ODD)
    broker.add_middleware(Results(backend=ResultBackend(broker=broker)))
    broker.add_middleware(GroupCallbacks(LimiterBackend(broker=broker)))
    yield broker
    broker.close()


def test_every_statement_can_be_prepared_in_a_schema_of_an_odd_name(odd_broker: PostgresBroker) -> None:
    statements = odd_broker.database.statements
    folder = Path(statements_module.__file__).parent / "sql"
    names = [str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.sql")]
    assert len(names) > 100
    with odd_broker.database.connection() as conn:
        for name in names:
            if b";" in statements.compiled(name).text:
                continue  # several: those of the ring are run below
            prepared = conn.pgconn.prepare(b"", statements.compiled(name).text)
            assert prepared.status == psycopg.pq.ExecStatus.COMMAND_OK, (name, prepared.error_message)


def test_the_ring_turns_and_grows_in_a_schema_of_an_odd_name(empty_database_url: str) -> None:
    schema.upgrade(empty_database_url, ODD)
    with open_queue(empty_database_url, schema=ODD) as queue:
        rotations = Rotator(queue.statements, max_messages=10, patience_s=60.0)
        for _ in range(12):
            queue.send(*map(str, range(12)))
            rotations.run_once(queue.conn)
        assert len(queue.slots()) > rotator.MIN_FREE
        for duty in (Promoter(queue.statements), Reaper(queue.statements), Pruner(queue.statements)):
            duty.run_once(queue.conn)


def test_results_groups_and_orders_work_in_a_schema_of_an_odd_name(
    odd_broker: PostgresBroker, worker_for: WorkerFor
) -> None:
    ran: list[str] = []

    @pgqueue.actor(broker=odd_broker, store_results=True, max_retries=0)
    def note(text: str) -> str:
        ran.append(text)
        return text.upper()

    worker_for(odd_broker, worker_threads=1)
    two = pgqueue.group([note.message("one"), note.message("two")], broker=odd_broker)
    two.add_completion_callback(note.message("both"))
    two.run()
    assert list(two.get_results(block=True, timeout=10_000)) == ["ONE", "TWO"]

    def look() -> None:
        assert sorted(ran) == ["both", "one", "two"]

    eventually(look, within_s=10.0)
    assert odd_broker.pause_queue("default")
    late = note.send_with_options(args=("late",), delay=60_000)
    assert odd_broker.cancel(late.message_id) is pgqueue.Cancellation.CANCELLED
    assert odd_broker.resume_queue("default")


def test_transactions_of_others_send_into_a_schema_of_an_odd_name(
    odd_broker: PostgresBroker, empty_database_url: str
) -> None:
    @pgqueue.actor(broker=odd_broker)
    def note(number: int) -> None:
        pass

    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(empty_database_url), poolclass=NullPool
    )
    with engine.begin() as connection, pgqueue.transaction(connection):
        note.send(1)
    with psycopg.connect(empty_database_url) as conn, pgqueue.transaction(conn):
        note.send(2)

    async def send() -> None:
        settings = conninfo_to_dict(empty_database_url)
        conn = await asyncpg.connect(
            host=settings["host"], user=settings["user"], database=settings["dbname"], port=settings["port"]
        )
        async with conn.transaction(), pgqueue.transaction(conn):
            await note.send_async(3)
        await conn.close()

    asyncio.run(send())
    assert odd_broker.get_queue_message_counts("default") == (3, 0, 0)


def test_commands_and_printed_sql_know_a_schema_of_an_odd_name(
    empty_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(schema.as_sql(ODD).encode())
        for command in ("migrate --check", "queues"):
            assert main([*command.split(), "--url", empty_database_url, "--schema", ODD]) == 0, command
        assert f"Schema '{ODD}'" in capsys.readouterr().out
        roles = ", ".join(f"odd_{kind}" for kind in KINDS)
        conn.execute("; ".join(f"CREATE ROLE {role}" for role in roles.split(", ")).encode())
        try:
            conn.execute(grants(ODD, "odd").encode())
        finally:
            conn.execute(f"DROP OWNED BY {roles} CASCADE; DROP ROLE {roles}".encode())
        conn.execute(schema.downgrade_as_sql(ODD).encode())
    assert schema.current(empty_database_url, ODD) is None


def test_two_schemas_in_one_database_are_independent(database_url: str, worker_for: WorkerFor) -> None:
    schema.upgrade(database_url, schema="other")
    ran: list[str] = []
    brokers = {name: PostgresBroker(database_url, schema=name) for name in ("pgqueue", "other")}
    for name, broker in brokers.items():

        @pgqueue.actor(broker=broker)
        def note(number: int, name: str = name) -> None:
            ran.append(f"{name} {number}")

        note.send(1)
    worker_for(brokers["other"], worker_threads=1)
    brokers["other"].join("default", timeout=10_000)
    assert ran == ["other 1"]
    assert brokers["pgqueue"].get_queue_message_counts("default") == (1, 0, 0)
    brokers["pgqueue"].flush("default")
    schema.downgrade(database_url, schema="other")
    assert brokers["pgqueue"].get_queue_message_counts("default") == (0, 0, 0)
    for broker in brokers.values():
        broker.close()


def test_keepers_of_two_schemas_do_not_wait_for_each_other(database_url: str) -> None:
    schema.upgrade(database_url, schema="other")
    with open_queue(database_url) as one, open_queue(database_url, schema="other") as other:
        for queue in (one, other):
            queue.send(*map(str, range(12)))
        with one.conn.transaction():
            one.conn.execute(one.statements["slots/try_lock"], {"duty": 1})
            Rotator(other.statements, max_messages=10).run_once(other.connect())
            assert other.slots() == [0, 1]
            Rotator(one.statements, max_messages=10).run_once(one.connect())
            assert one.slots() == [0]


def test_an_ordinary_role_that_owns_its_database_needs_nothing_else(
    ordinary_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for turning the ring and letting it grow."""
    schema.upgrade(ordinary_url)
    with open_queue(ordinary_url) as queue:
        owner, rotations = queue.owner(), Rotator(queue.statements, max_messages=10, patience_s=60.0)
        for _ in range(12):
            queue.send(*map(str, range(12)))
            rotations.run_once(queue.conn)
        assert len(all_slots(queue)) > rotator.MIN_FREE + 6
        while claimed := queue.claimed(owner):
            assert len(queue.settle([done(message) for message in claimed], closes=True)) == len(claimed)
        rotations.run_once(queue.conn)
        for duty in (Promoter(queue.statements), Reaper(queue.statements), Pruner(queue.statements)):
            duty.run_once(queue.conn)
        assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def all_slots(queue: Queue) -> list[int]:
    return queue.values("SELECT slot FROM pgqueue.slots")
