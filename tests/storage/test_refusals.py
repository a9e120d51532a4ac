"""What a refused connection or right is told with: what helps."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from pgqueue.errors import DatabaseUnavailable, PermissionDenied
from pgqueue.storage.database import Database, translated
from pgqueue.storage.refusals import explained


@pytest.mark.parametrize(
    ("wrong", "way_out"),
    [
        ({"dbname": "nobody_made_it"}, "Create it with `createdb`, or name another in the URL"),
        ({"user": "nobody"}, "Create it with `createuser`, or name another user in the URL"),
        ({"host": "127.0.0.1", "port": "1"}, "Is the server running there, and is the URL right"),
        ({"host": "no-such-host.invalid"}, "Is the server running there, and is the URL right"),
        ({"host": "/nonexistent"}, "Is the server running there, and is the URL right"),
        ({"port": "999999"}, "Mend it in the URL"),
        ({"sslmode": "none"}, "Mend it in the URL"),
    ],
    ids=["database", "role", "port", "host", "socket", "high port", "sslmode"],
)
def test_a_connection_that_can_not_be_made_says_what_helps(
    database_url: str, wrong: dict[str, str], way_out: str
) -> None:
    database = Database(make_conninfo(database_url, **wrong))
    with pytest.raises(DatabaseUnavailable, match=way_out):
        database.connect(application_name="own")
    with pytest.raises(DatabaseUnavailable, match=way_out), database.connection():
        raise AssertionError("it was made")


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ('FATAL:  password authentication failed for user "me"', "in PGPASSWORD or in ~/.pgpass"),
        ("fe_sendauth: no password supplied", "in PGPASSWORD or in ~/.pgpass"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "me"', "pg_hba.conf admit this user"),
        ("Verbindungsaufbau abgelehnt", "Is the server running there"),
    ],
)
def test_what_the_server_wants_is_told(text: str, way_out: str) -> None:
    error = psycopg.OperationalError(
        f'connection failed: connection to server at "db", port 5432 failed: {text}'
    )
    assert way_out in explained(error)


@pytest.mark.parametrize("text", ["server closed the connection unexpectedly", "couldn't get a connection"])
def test_a_connection_that_was_there_needs_no_advice(text: str) -> None:
    assert explained(psycopg.OperationalError(f"{text}.\nMore of it.")) == text


def test_a_role_that_may_not_make_the_schema_is_told_who_may() -> None:
    with pytest.raises(PermissionDenied, match="database's owner run `pgqueue migrate`"), translated():
        raise errors.InsufficientPrivilege("permission denied for database app")
