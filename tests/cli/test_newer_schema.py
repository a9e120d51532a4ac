"""Commands and brokers on a schema that a later release has migrated."""

import psycopg
import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.errors import ReleaseOutdated
from pgqueue.storage.database import REQUIRED_REVISION
from pgqueue.storage.revision import number_of

from .conftest import Run


def test_a_broker_and_the_commands_refuse_a_schema_of_a_later_release(database_url: str, run: Run) -> None:
    too_far = f"pgqueue_9000_needs_{number_of(REQUIRED_REVISION) + 1:04}"
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE pgqueue.alembic_version SET version_num = %s", (too_far,))
    broker = PostgresBroker(database_url)
    with pytest.raises(ReleaseOutdated, match=too_far):
        broker.check()
    broker.close()
    for words in (["queues"], ["migrate", "--check"], ["migrate"]):
        code, output = run(*words)
        assert code == 2, output
        assert f"pgqueue: pgqueue's schema is at {too_far}" in output
    code, output = run("doctor")
    assert code == 1
    assert too_far in output


def test_a_later_schema_that_lets_it_is_worked_on(database_url: str, run: Run) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE pgqueue.alembic_version SET version_num = 'pgqueue_9000_needs_0001'")
    broker = PostgresBroker(database_url)
    broker.check()
    broker.close()
    assert run("migrate", "--check")[0] == 0
