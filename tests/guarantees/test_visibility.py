"""Never before the enqueuing transaction commits, never at all if it rolls back, never before its eta."""

from __future__ import annotations

import threading

import pytest

import pgqueue
from pgqueue.brokers import _outgoing
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.common import current_millis

from ..conftest import WorkerFor
from ..support.eventually import eventually
from ..support.queue import Queue


def message_for(broker: PostgresBroker, queue: Queue, text: str) -> bytes:
    """The bytes of a message to the actor ``note``."""
    return broker.get_actor("note").message(text).encode()


@pytest.fixture
def noted(postgres_broker: PostgresBroker) -> list[str]:
    """What the actor ``note`` was run with."""
    ran: list[str] = []

    @pgqueue.actor
    def note(text: str) -> None:
        ran.append(text)

    return ran


def send_in(queue: Queue, conn_payload: bytes, *, rollback: bool, before_end: threading.Event) -> None:
    conn = queue.connect()
    conn.execute("BEGIN")
    new = queue.new(conn_payload)
    queue.send_all([new], conn=conn)
    before_end.wait(10.0)
    conn.execute("ROLLBACK" if rollback else "COMMIT")


@pytest.mark.parametrize("rollback", [True, False])
def test_a_message_is_invisible_until_its_transaction_commits(
    postgres_broker: PostgresBroker, queue: Queue, noted: list[str], worker_for: WorkerFor, rollback: bool
) -> None:
    queue.lane()
    end = threading.Event()
    sender = threading.Thread(
        target=send_in,
        args=(queue, message_for(postgres_broker, queue, "from the transaction")),
        kwargs={"rollback": rollback, "before_end": end},
    )
    sender.start()
    worker_for(postgres_broker, worker_threads=2)
    postgres_broker.get_actor("note").send("marker")

    def marker_ran() -> None:
        assert noted == ["marker"]

    eventually(marker_ran)
    assert postgres_broker.get_queue_message_counts("default")[0] <= 1
    end.set()
    sender.join()
    postgres_broker.get_actor("note").send("second marker")
    postgres_broker.join("default", timeout=10_000)
    expected = {"marker", "second marker"} | (set() if rollback else {"from the transaction"})
    assert set(noted) == expected
    assert len(noted) == len(expected)


@pytest.mark.parametrize("skew_ms", [-3_600_000, 3_600_000])
def test_a_delay_is_measured_by_the_servers_clock(
    postgres_broker: PostgresBroker,
    queue: Queue,
    noted: list[str],
    worker_for: WorkerFor,
    monkeypatch: pytest.MonkeyPatch,
    skew_ms: int,
) -> None:
    monkeypatch.setattr(_outgoing, "current_millis", lambda: current_millis() + skew_ms)
    before = queue.value("SELECT clock_timestamp()")
    postgres_broker.get_actor("note").send_with_options(args=("late",), delay=300)
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert noted == ["late"]
    waited = queue.value("SELECT finished_at FROM pgqueue.outcomes") - before
    assert 0.3 <= waited.total_seconds() < 5.0
