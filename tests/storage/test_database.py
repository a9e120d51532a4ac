"""Connections, and the driver's errors made ours."""

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolTimeout

from pgqueue.errors import DatabaseUnavailable, DiskFull, PermissionDenied, SchemaOutdated
from pgqueue.storage.database import Database, is_lost, translated

from ..support.proxy import Proxy

TERMINATE = "SELECT pg_terminate_backend(%s)"


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailable("gone"),
        PoolTimeout(),
        psycopg.InterfaceError(),
        psycopg.OperationalError("server closed the connection unexpectedly"),
        errors.AdminShutdown(),
        errors.CrashShutdown(),
        errors.CannotConnectNow(),
        errors.TooManyConnections(),
        errors.IdleInTransactionSessionTimeout(),
        errors.ConnectionFailure(),
    ],
)
def test_a_connection_that_is_gone_counts_as_lost(error: Exception) -> None:
    assert is_lost(error)


@pytest.mark.parametrize("error", [errors.QueryCanceled(), errors.DeadlockDetected(), ValueError()])
def test_a_statement_that_was_refused_is_no_lost_connection(error: Exception) -> None:
    assert not is_lost(error)


def test_a_terminated_backend_shows_as_an_unavailable_database(database_url: str) -> None:
    database = Database(database_url)
    with database.connect(application_name="victim") as victim:
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute(TERMINATE, (victim.info.backend_pid,))
        with pytest.raises(DatabaseUnavailable), translated(database):
            victim.execute("SELECT 1")


def test_the_connection_that_tries_the_url_is_the_pools_first(database_url: str) -> None:
    with Proxy(database_url) as proxy:
        database = Database(proxy.url)
        for _ in range(3):
            with database.connection() as conn:
                row = conn.execute("SELECT current_setting('idle_in_transaction_session_timeout')").fetchone()
                assert row == ("1min",)
        assert proxy.accepted == 1
        with database.connection(), database.connection():
            assert proxy.accepted == 2
        database.close()
        with database.connection():
            assert proxy.accepted == 3
        database.close()


def test_a_missing_table_shows_as_an_outdated_schema(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(SchemaOutdated), database.connection() as conn:
        conn.execute("SELECT FROM pgqueue.messages")
    database.close()


def test_a_missing_right_shows_as_permission_denied() -> None:
    with pytest.raises(PermissionDenied), translated():
        raise errors.InsufficientPrivilege("permission denied for table messages")


def test_plans_are_not_compiled_on_any_of_our_connections(database_url: str) -> None:
    """Which a server with JIT may take seconds for: those of Debian and of most providers have it."""
    database = Database(database_url)
    with database.connection() as pooled, database.connect(application_name="own") as own:
        assert [conn.execute("SHOW jit").fetchone() for conn in (pooled, own)] == [("off",), ("off",)]
    database.close()


def test_a_full_disk_is_told_of_with_what_the_server_says(database_url: str) -> None:
    database = Database(database_url)
    with (
        pytest.raises(
            DiskFull, match=r"is full: no room for 5\. Nothing of this call was written\. Free space"
        ),
        database.connection() as conn,
    ):
        conn.execute("DO $$ BEGIN RAISE disk_full USING MESSAGE = 'no room for 5'; END $$")
    database.close()
