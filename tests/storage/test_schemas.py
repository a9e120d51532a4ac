"""Any schema name that the loader accepts; two in one database are independent; an ordinary role will do."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import pgqueue
from pgqueue import schema
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.maintenance import rotator
from pgqueue.maintenance.promoter import Promoter
from pgqueue.maintenance.pruner import Pruner
from pgqueue.maintenance.reaper import Reaper
from pgqueue.maintenance.rotator import Rotator
from pgqueue.storage.statements import Statements

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.postgres import Databases
from ..support.queue import Queue, done, open_queue

NAMES = ["jobs", "Jobs", "_", "a1$", "select", "pgqueue_2", "x" * 57, "x" * 58, "x" * 63]


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


@pytest.mark.parametrize("name", ["", "1st", "a b", 'a"b', "a.b", "ä", "x" * 64, "a;b", "a-b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be the schema"):
        Statements(name)


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
