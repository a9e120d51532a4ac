"""What is asked of the database is asked again over a lost connection; what can't be asked for is refused at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import pgqueue
from pgqueue.brokers import _asking
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.brokers.stub import StubBroker
from pgqueue.errors import ConnectionClosed, DatabaseUnavailable, TransactionError
from pgqueue.message import Message
from tests.support.queue import open_queue

ASKED: dict[str, Callable[[PostgresBroker], object]] = {
    "join": lambda broker: broker.join("default", timeout=10_000),
    "counts": lambda broker: broker.get_queue_message_counts("default"),
    "flush": lambda broker: broker.flush("default"),
    "status": lambda broker: broker.get_message_status("6d4a6c1a-8d36-4b66-b5b2-b3c1b3b7e8a1"),
    "cancel": lambda broker: broker.cancel("6d4a6c1a-8d36-4b66-b5b2-b3c1b3b7e8a1"),
    "pause_queue": lambda broker: broker.pause_queue("default"),
    "resume_queue": lambda broker: broker.resume_queue("default"),
    "pause_actor": lambda broker: broker.pause_actor("work"),
    "resume_actor": lambda broker: broker.resume_actor("work"),
    "paused_queues": lambda broker: broker.get_paused_queues(),
    "paused_actors": lambda broker: broker.get_paused_actors(),
    "send": lambda broker: broker.enqueue(Message("default", "work", (), {}, {})),
}


def end_connections(url: str) -> int:
    """Have the server end those of the broker's pool; return how many there were."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(
            """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'pgqueue'"""
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_lost_connection_is_replaced(
    postgres_broker: PostgresBroker, database_url: str, ask: Callable[[PostgresBroker], object]
) -> None:
    postgres_broker.get_queue_message_counts("default")
    assert end_connections(database_url) == 1
    ask(postgres_broker)


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_who_can_not_be_reached_is_given_up_after_some_attempts(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[PostgresBroker], object]
) -> None:
    monkeypatch.setattr(_asking, "RETRY_S", 0.0)
    broker = PostgresBroker("postgresql://user:secret@127.0.0.1:1/nothing?connect_timeout=2")
    with pytest.raises(ConnectionClosed, match="after 6 attempts: Can't use") as caught:
        ask(broker)
    assert "secret" not in str(caught.value)


# ── what can't be asked for ───────────────────────────────────────────────────────────────────────

WRONG: list[tuple[str, Any, str]] = [
    ("join", None, 'join() takes the name of a queue, not None: broker.join("default").'),
    ("flush", None, 'flush() takes the name of a queue, not None: broker.flush("default").'),
    ("get_queue_message_counts", 3, "takes the name of a queue, not 3"),
    ("pause_queue", None, 'broker.pause_queue("default")'),
    ("pause_actor", None, "takes the name of an actor, not None"),
    ("get_message_status", None, "takes the id of a message as text, not None"),
    ("cancel", 7, "broker.cancel(message.message_id)"),
]


@pytest.mark.parametrize(("method", "argument", "text"), WRONG, ids=[name for name, *_ in WRONG])
def test_what_is_no_name_is_refused_with_the_way_out(method: str, argument: Any, text: str) -> None:
    broker = PostgresBroker("postgresql://127.0.0.1:1/nothing")
    with pytest.raises(TypeError) as caught:
        getattr(broker, method)(argument)
    assert text in str(caught.value)


def test_an_actor_in_the_place_of_its_name_is_told_apart(stub_broker: StubBroker) -> None:
    @pgqueue.actor
    def work() -> None: ...

    with pytest.raises(TypeError, match=r"broker.join\(actor.queue_name\)"):
        stub_broker.join(work)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="takes the name of a queue"):
        stub_broker.flush(None)  # type: ignore[arg-type]  # likewise


# ── a server that takes no writes ─────────────────────────────────────────────────────────────────


def test_a_send_to_a_server_that_takes_no_writes_says_so(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asking, "RETRY_S", 0.0)
    mark = "&" if "?" in database_url else "?"
    broker = PostgresBroker(f"{database_url}{mark}options=-cdefault_transaction_read_only%3Don")
    with pytest.raises(ConnectionClosed, match="takes no writes here: it is a standby") as caught:
        broker.enqueue(Message("default", "work", (), {}, {}))
    assert isinstance(caught.value.__cause__, DatabaseUnavailable)
    broker.close()


def test_a_send_goes_through_once_the_server_takes_writes_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a failover: a connection that was the primary's is a standby's, and the next one is the primary's."""
    monkeypatch.setattr(_asking, "RETRY_S", 0.0)
    broker = PostgresBroker(database_url)
    with broker.database.connection() as conn:
        conn.execute("SET default_transaction_read_only = on")
    broker.enqueue(Message("default", "work", (), {}, {}))
    assert broker.get_queue_message_counts("default") == (1, 0, 0)
    broker.close()


def test_a_send_in_a_read_only_transaction_says_so(
    postgres_broker: PostgresBroker, database_url: str
) -> None:
    with psycopg.connect(database_url) as conn, open_queue(database_url) as queue:
        conn.read_only = True
        read_only = pytest.raises(TransactionError, match="its transaction is read only")
        with read_only, conn.transaction(), pgqueue.transaction(conn):
            postgres_broker.enqueue(Message("default", "work", (), {}, {}))
        assert queue.ready() == []
