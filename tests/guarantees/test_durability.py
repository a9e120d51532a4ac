"""When `send` has returned, or the caller's transaction has committed, the message survives any crash."""

from __future__ import annotations

import signal

import pytest

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine import acker

from ..support.processes import Process
from ..support.queue import Queue

SENDER = """
import os, signal, sys
import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker(sys.argv[1])
pgqueue.set_broker(broker)

@pgqueue.actor
def note(number):
    pass

for number in range(10):
    note.send(number)
broker.enqueue_many([note.message(number) for number in range(10, 20)])
note.send_with_options(args=(20,), delay=3_600_000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_sender_may_die_at_once(database_url: str, queue: Queue, programs: list[Process]) -> None:
    programs.append(Process.script(SENDER, database_url, warm=True))
    assert programs[0].wait() == -signal.SIGKILL, programs[0].output
    broker = PostgresBroker(database_url)
    assert broker.get_queue_message_counts("default") == (20, 1, 0)
    broker.close()


def test_only_claims_may_be_lost_in_a_crash_of_the_server(postgres_broker: PostgresBroker) -> None:
    """Everything else commits as the server's administrator has decided; a lost claim is only claimed again."""
    postgres_broker.declare_queue("default")
    consumer = postgres_broker.consume("default", timeout=1)
    next(consumer)
    intake = consumer._intake  # type: ignore[attr-defined]
    query = "SELECT setting, source FROM pg_settings WHERE name = 'synchronous_commit'"
    assert intake._fetcher._conn.execute(query).fetchone() == ("off", "session")
    assert "synchronous_commit" not in acker.SETTINGS
    with postgres_broker.database.connection() as conn:
        row = conn.execute(query).fetchone()
        assert row is not None
        assert row[1] != "session"
    consumer.close()


@pytest.mark.parametrize("number", [1, 3])
def test_a_send_survives_lost_connections(postgres_broker: PostgresBroker, queue: Queue, number: int) -> None:
    @pgqueue.actor
    def note() -> None:
        pass

    for count in range(1, number + 1):
        note.send()
        queue.conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'pgqueue'"
        )
        note.send()
        assert queue.value("SELECT count(*) FROM pgqueue.messages") == 2 * count
