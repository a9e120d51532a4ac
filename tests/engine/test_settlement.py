"""The end of a message while the database is away for a moment."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from pgqueue.broker.worker_consumer import for_worker
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.engine.intake import Intake
from pgqueue.engine.session import Session
from pgqueue.engine.settlement import Settlement
from pgqueue.errors import DatabaseUnavailable, LeaseLost
from pgqueue.message import Message
from pgqueue.storage.database import Database
from pgqueue.storage.messages import ClaimedMessage, Lease, Verdict


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    """A session at work."""
    opened = Session(database := Database(database_url), threads=1)
    opened.open()
    yield opened
    opened.close()
    database.close()


@pytest.fixture
def settlement(session: Session) -> Settlement:
    """The settlement of a message that nobody holds."""
    intake = Intake(session, ["default"], prefetch=1, threads=1)
    claimed = ClaimedMessage(
        id=1, lease=Lease(1, 0, uuid4(), left=1), lane=1, attempts=0, wait_ms=0, payload=b""
    )
    return Settlement(session, intake, Verdict(claimed, str(uuid4()), "actor"))


def test_it_asks_the_database_until_it_can_be_reached(settlement: Settlement) -> None:
    answers: list[str | None] = ["found", None, None]

    def ask() -> str:
        answer = answers.pop()
        if answer is None:
            raise DatabaseUnavailable("it is away")
        return answer

    assert settlement.insist(ask) == "found"
    assert not settlement.broken


def test_it_gives_up_with_the_session_and_can_not_be_committed_then(
    session: Session, settlement: Settlement
) -> None:
    def ask() -> None:
        raise DatabaseUnavailable("it is away")

    session.closing.set()
    with pytest.raises(DatabaseUnavailable):
        settlement.insist(ask)
    assert settlement.broken


def test_a_lost_lease_breaks_it_and_leaves_no_transaction_behind(
    session: Session, settlement: Settlement
) -> None:
    with pytest.raises(LeaseLost):
        settlement.connection()
    assert settlement.broken
    with session.database.connection() as conn:
        assert conn.info.transaction_status == 0


def test_a_hooks_mistake_is_no_reason_to_run_the_message_again(settlement: Settlement) -> None:
    def ask() -> None:
        raise ValueError("too many priorities")

    with pytest.raises(ValueError, match="too many"):
        settlement.insist(ask)
    assert not settlement.broken


def test_a_message_whose_settlement_broke_goes_back_to_its_queue(postgres_broker: PostgresBroker) -> None:
    postgres_broker.declare_queue("default")
    sent = postgres_broker.enqueue(Message("default", "actor", (), {}, {}))
    consumer = for_worker(postgres_broker.consume("default", timeout=2_000))
    message = next(consumer)
    assert message is not None
    with consumer.settling(message):
        current = postgres_broker._settlements.current
        assert current is not None
        current.broken = True
        consumer.ack(message)
    again = next(consumer)
    assert again is not None
    assert again.message_id == sent.message_id
    consumer.ack(again)
    consumer.close()
    assert postgres_broker.get_queue_message_counts("default") == (0, 0, 0)
