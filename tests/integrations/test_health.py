"""What health checks find."""

import psycopg
import pytest

from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.integrations.health import Health, check_health
from tests.conftest import WorkerFor
from tests.support.eventually import eventually


def test_without_workers_it_is_healthy_unless_some_are_asked_for(postgres_broker: PostgresBroker) -> None:
    found = check_health(postgres_broker)
    assert found == Health(database=True, schema=True, workers=0)
    assert found.status_code == 200
    wanted = check_health(postgres_broker, least_workers=1)
    assert not wanted.ok
    assert wanted.status_code == 503


def test_processes_that_live_are_counted(postgres_broker: PostgresBroker, worker_for: WorkerFor) -> None:
    postgres_broker.declare_queue("default")
    worker_for(postgres_broker)
    worker_for(postgres_broker)

    def look() -> None:
        assert check_health(postgres_broker, least_workers=1) == Health(database=True, schema=True, workers=1)

    eventually(look)


def test_a_worker_that_was_silent_for_long_does_not_count(
    postgres_broker: PostgresBroker, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO pgqueue.workers (owner, lock_key, host, pid, threads, seen_at)"
            " VALUES (gen_random_uuid(), 1, 'elsewhere', 1, 1, now() - interval '1 minute')"
        )
    assert check_health(postgres_broker).workers == 0


def test_a_database_without_our_schema_is_told_apart(empty_database_url: str) -> None:
    broker = PostgresBroker(empty_database_url)
    found = check_health(broker)
    broker.close()
    assert found.asdict() == {"status": "unavailable", "database": True, "schema": False, "workers": None}


@pytest.mark.parametrize("url", ["postgresql://me:secret@127.0.0.1:1/app", "nonsense"])
def test_a_database_that_cannot_be_used_is_logged_without_its_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PostgresBroker(url)
    found = check_health(broker)
    broker.close()
    assert found.asdict() == {"status": "unavailable", "database": False, "schema": False, "workers": None}
    assert "The queue is not healthy" in caplog.text
    assert "secret" not in caplog.text


def test_a_broker_in_memory_is_healthy(stub_broker: StubBroker) -> None:
    assert check_health(stub_broker, least_workers=1) == Health(database=True, schema=True, workers=None)
