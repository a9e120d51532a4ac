"""A server whose table of locks somebody uses up, again and again, while messages are sent, run and acknowledged."""

import random
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import psycopg
import pytest

from pgqueue import schema
from pgqueue.operations.checking import Check, check
from pgqueue.storage.database import Database
from tests.support.eventually import eventually
from tests.support.few_locks import server_with_few_locks

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load
from .test_crashed_server import wait_until_work_goes_on

#: What whoever runs into it is told, in logs and errors.
TOLD = "out of shared memory"

#: A slot of so many messages is full, so that the keeper rotates while there are no locks.
SLOT = 100

#: So many locks are enough to connect and to look, and far too few to migrate.
ROOM = 40

TURNS = "SELECT max(turn) FROM pgqueue.slots"


class Hog:
    """Has all the locks that are to be had but for a few, and takes what others give back, while it is entered."""

    def __init__(self, url: str, dice: random.Random) -> None:
        self._conn = psycopg.connect(url, autocommit=True, application_name="a hog")
        self._dice = dice
        self._next = 0
        self.pid = self._conn.info.backend_pid

    def eat(self, seconds: float) -> None:
        """Take all, again and again, and leave now none and now some: others fail now here and now there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.take_all()
            self.give_back(self._dice.choice([0, 0, 1, 2, 5, 10, 20]))
            time.sleep(self._dice.uniform(0.01, 0.1))

    def take_all(self) -> None:
        """Take locks until there are none; they stay this session's."""
        with pytest.raises(psycopg.errors.OutOfMemory):
            self._conn.execute(
                "SELECT count(pg_advisory_lock(%s + n)) FROM generate_series(1, 100000) n", (self._next,)
            )
        self._next += 100_000

    def give_back(self, number: int) -> None:
        """Leave room for so many."""
        self._conn.execute(
            "SELECT count(pg_advisory_unlock((classid::bigint << 32) + objid::bigint)) FROM ("
            "SELECT classid, objid FROM pg_locks WHERE pid = %s AND locktype = 'advisory' LIMIT %s) AS taken",
            (self.pid, number),
        )

    def __enter__(self) -> Self:
        self.take_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._conn.close()


@pytest.fixture
def url() -> Iterator[str]:
    """A server of the drill's own that has few locks."""
    with server_with_few_locks(max_connections=40) as started:
        yield started


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_exhausted_locks(
    url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Whoever finds no room for a lock says so and tries again; nothing is lost, and nothing is half done."""
    rounds, waits = scale(2, 30), list[float]()
    with Fleet(url, ledger, env={"DRILL_KEEPER_BUSY": str(SLOT)}) as fleet:
        fleet.start(2)
        with Load(url, ledger, dice, rate=300) as load:
            for number in range(rounds):
                time.sleep(dice.uniform(0.2, 1.0))
                verdict = starve(url, dice, other=f"other_{number}")
                assert verdict.verdict == "failure", verdict
                waits.append(wait_until_work_goes_on(url, ledger))
                # What the migration had begun is no hindrance to the next.
                schema.upgrade(url, schema=f"other_{number}")
        wait_until_drained(url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        said = fleet.output
    assert load.refusals["ServerOutOfMemory"]
    assert TOLD in said
    assert "Traceback" not in said, said
    report(
        examine(url, ledger),
        rounds=rounds,
        **{"sends refused": load.failures, "told by workers": said.count(TOLD)},
        rotations=turns(url),
        **{"slowest recovery s": round(max(waits), 2)},
    )
    assert turns(url) >= rounds


def starve(url: str, dice: random.Random, *, other: str) -> Check:
    """Take all locks for a while, in which a migration fails whole; return what the doctor says of it."""
    with Hog(url, dice) as hog:
        hog.give_back(ROOM)
        with pytest.raises(psycopg.OperationalError, match="out of shared memory"):
            schema.upgrade(url, schema=other)
        hog.eat(dice.uniform(0.5, 2.0))
        return eventually(lambda: asked_of_locks(url, hog), within_s=20.0)


def asked_of_locks(url: str, hog: Hog) -> Check:
    """What the doctor says of locks, for which he needs some himself: workers may have been there first."""
    hog.give_back(ROOM)
    database = Database(url)
    try:
        found = {each.name: each for each in check(database)}
    finally:
        database.close()
    assert "locks" in found, found
    return found["locks"]


def turns(url: str) -> int:
    """How often slots have been taken into use."""
    with psycopg.connect(url) as conn:
        row = conn.execute(TURNS).fetchone()
    assert row is not None
    return int(row[0])
