"""A server that takes no more connections while workers have just lost theirs."""

import random
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.eventually import eventually

from .checks import examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load

ROLE = "drill_worker"

#: Connections that the role may have: two workers need nine with the pool's, and there is no room for more.
LIMIT = 12

REFUSED = "too many connections"

TERMINATE = """
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE usename = %s AND datname = current_database() AND application_name LIKE 'pgqueue%%'
"""


@pytest.fixture
def limited_url(database_url: str) -> Iterator[str]:
    """The URL of a role that may have a few connections only."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'secret' CONNECTION LIMIT {LIMIT}".encode())
        conn.execute(
            f"GRANT USAGE ON SCHEMA pgqueue TO {ROLE}; GRANT ALL ON ALL TABLES IN SCHEMA pgqueue TO {ROLE};"
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA pgqueue TO {ROLE}".encode()
        )
        yield make_conninfo(database_url, user=ROLE, password="secret")
        conn.execute(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}".encode())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_exhausted_connections(
    database_url: str,
    limited_url: str,
    ledger: Ledger,
    dice: random.Random,
    scale: Scale,
    report: Callable[..., None],
) -> None:
    """Workers wait their turn, say why, and go on as soon as there is room; nothing runs twice for it."""
    taken = 0
    with (
        Fleet(limited_url, ledger) as fleet,
        psycopg.connect(database_url, autocommit=True) as conn,
    ):
        fleet.start(2)
        with Load(database_url, ledger, dice, rate=200):
            for _ in range(scale(1, 10)):
                time.sleep(dice.uniform(0.2, 1.0))
                hogs = leave_none(fleet, limited_url, conn)
                taken += len(hogs)
                time.sleep(dice.uniform(0.5, 2.0))
                for hog in hogs:
                    hog.close()
        wait_until_drained(database_url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
        assert taken > 0
        assert "Traceback" not in fleet.output
        report(examine(database_url, ledger), rounds=scale(1, 10), taken=taken)


def leave_none(fleet: Fleet, url: str, conn: psycopg.Connection) -> "list[psycopg.Connection]":
    """Take connections from the workers, who are as quick to take them again, until they are refused one."""
    before = fleet.output.count(REFUSED)
    hogs: list[psycopg.Connection] = []

    def look() -> None:
        conn.execute(TERMINATE, (ROLE,))
        hogs.extend(take_all(url))
        assert fleet.output.count(REFUSED) > before, fleet.output

    eventually(look, within_s=20.0)
    return hogs


def take_all(url: str) -> "list[psycopg.Connection]":
    """Take connections until there are none."""
    hogs: list[psycopg.Connection] = []
    while True:
        try:
            hogs.append(psycopg.connect(url))
        except psycopg.OperationalError:
            return hogs
