"""Old snapshots under load: of a reader, a writer, a prepared transaction, a replication slot and a dump, in turn."""

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import psycopg
import pytest

from pgqueue import embedded, schema
from pgqueue.maintenance import lookout
from pgqueue.operations.checking import check
from pgqueue.storage.database import Database
from tests.support.eventually import eventually
from tests.support.postgres import quick_directory

from .checks import examine
from .conftest import Scale
from .crowds import Crowd
from .fleet import Fleet
from .holders import HOLDERS
from .ledger import Ledger
from .test_rotation import RING, TURNS, value, wait_until_empty

#: Buffers that claims have touched, of all workers.
TOUCHED = """
SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0) FROM pg_stat_statements
WHERE query LIKE '%span.upto_xid%' AND query LIKE '%SKIP LOCKED%'
"""

#: Whoever holds its snapshot without keeping slots from being emptied: all but the dump.
UNHINDERED = ("reader", "writer", "prepared", "slot")

#: By how much they may grow a message while a snapshot is held; and bytes of the ring for each message of three slots.
FLAT, BYTES = 1.3, 3 * 400


@dataclass
class Held:
    """What was seen while a snapshot was held, and after."""

    grown: float
    ring: int
    left: int


@pytest.fixture
def server() -> Iterator[embedded.Server]:
    """A server that allows for replication slots and prepared transactions."""
    directory = tempfile.mkdtemp(prefix="pgqueue-drill-", dir=quick_directory())
    settings = {
        "wal_level": "logical", "shared_buffers": "64MB", "shared_preload_libraries": "pg_stat_statements",
        "pg_stat_statements.track": "all", "max_prepared_transactions": "4",
    }  # fmt: skip
    with embedded.start(directory, temporary=True, durable=False, settings=settings) as started:
        schema.upgrade(started.url)
        with psycopg.connect(started.url) as conn:
            conn.execute("CREATE EXTENSION pg_stat_statements")
        yield started


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_held_snapshots(
    server: embedded.Server, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Nothing is lost, claims stay as cheap, the ring small (after a dump); the doctor names the holder."""
    monkeypatch.setattr(lookout, "OLD_SNAPSHOT_S", 0.0)
    monkeypatch.setattr(lookout, "OLD_SNAPSHOT_XIDS", 0)
    total, size, seen = scale(400, 40_000, reach=250_000), scale(50, 4_000, reach=20_000), {}
    with Fleet(server.url, ledger, env={"DRILL_KEEPER_BUSY": str(size)}) as fleet:
        fleet.start(2)
        send(server.url, ledger, dice, total // 2)
        for name, hold in HOLDERS.items():
            with hold(server.url) as holder:
                turn = ask(server.url, TURNS)
                first = send(server.url, ledger, dice, total // 2)
                last = send(server.url, ledger, dice, total // 2)
                ring = ask(server.url, RING)
                eventually(partial(holder_is_told, server.url, holder), within_s=30.0)
                if name in UNHINDERED:
                    eventually(partial(ring_has_turned, server.url, turn))
            seen[name] = Held(last / first, ring, recovered(server.url, size))
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        assert "Traceback" not in fleet.output, fleet.output
    grown = {f"{name}_grown": round(held.grown, 2) for name, held in seen.items()}
    report(
        examine(server.url, ledger),
        **grown,
        **{f"{name}_mb": round(held.ring / 1e6, 1) for name, held in seen.items()},
    )
    for name in UNHINDERED:
        assert seen[name].ring < bound(size), name
    if scale.full:
        assert max(held.grown for held in seen.values()) <= FLAT, grown


def bound(size: int) -> int:
    """The most bytes that a ring with slots of so many messages needs."""
    return max(10_000_000, size * BYTES)


def send(url: str, ledger: Ledger, dice: random.Random, total: int) -> float:
    """Have so many messages sent and run; return what claims touched for each."""
    with psycopg.connect(url, autocommit=True) as conn:
        touched = value(conn, TOUCHED)
        with Crowd(url, ledger, dice, senders=2, total=total):
            pass
        wait_until_empty(conn)
        return (value(conn, TOUCHED) - touched) / total


def ring_has_turned(url: str, turn: int) -> None:
    """The next slot is open: the one of then has taken more than its share."""
    assert ask(url, TURNS) > turn


def recovered(url: str, size: int) -> int:
    """Wait until the ring is small again; return its bytes."""

    def look() -> int:
        ring = ask(url, RING)
        assert ring < bound(size)
        return ring

    return eventually(look, within_s=60.0)


def ask(url: str, query: str) -> int:
    """The one number that a query answers."""
    with psycopg.connect(url, autocommit=True) as conn:
        return value(conn, query)


def holder_is_told(url: str, holder: str) -> None:
    """The doctor names the holder, unless a statement that is just running goes back further, for some milliseconds."""
    told = doctor_on_snapshots(url)
    assert holder in told, (holder, told)


def doctor_on_snapshots(url: str) -> str:
    """What the doctor says of old snapshots."""
    database = Database(url)
    try:
        return next(one.found for one in check(database) if one.name == "snapshots")
    finally:
        database.close()
