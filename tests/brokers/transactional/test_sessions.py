"""SQLAlchemy in the bodies of transactional actors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import BigInteger, Identity, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import AsyncIO

from ...conftest import WorkerFor
from ...support.effects import Effects
from ...support.queue import Queue
from .test_bodies import run


class Base(DeclarativeBase):
    pass


class Effect(Base):
    __tablename__ = "effects"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    what: Mapped[str]


def session(**options: Any) -> Session:
    return pgqueue.current_transaction().session(**options)


def test_what_is_pending_is_written_and_commits_with_the_ack(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    sessions = []

    def body() -> None:
        session().add(Effect(what="pending"))
        assert session() is session()
        assert effects.seen == []
        sessions.append(session())

    run(postgres_broker, worker_for, body)
    assert effects.seen == ["pending"]
    assert not list(sessions[0].identity_map.values()), "the session was not closed"


def test_it_shares_the_transaction_with_the_connection_and_with_sends(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    @pgqueue.actor(transactional=True)
    def follow() -> None:
        session().add(Effect(what="follow"))

    def body() -> None:
        conn = pgqueue.current_transaction().connection
        Effects.add(conn, "by the connection")
        seen = session().query(Effect).one()
        seen.what = "changed by the session"
        session().flush()
        (what,) = conn.execute("SELECT what FROM effects").fetchone() or [None]
        assert what == "changed by the session"
        backend = session().execute(text("SELECT pg_backend_pid()")).scalar()
        assert backend == conn.info.backend_pid
        follow.send()
        assert queue.value("SELECT count(*) FROM pgqueue.messages WHERE actor_name = 'follow'") == 0

    run(postgres_broker, worker_for, body)
    assert effects.seen == ["changed by the session", "follow"]


def test_an_exception_undoes_what_it_wrote(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    def body() -> None:
        session().add(Effect(what="pending"))
        session().flush()
        raise RuntimeError("no")

    run(postgres_broker, worker_for, body)
    assert effects.seen == []
    assert queue.values("SELECT error FROM pgqueue.dead_letters") == ["RuntimeError: no"]


def test_a_flush_that_fails_after_the_body_is_the_bodys_failure(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    effects.execute("ALTER TABLE effects ADD UNIQUE (what)")

    def body() -> None:
        session().add_all([Effect(what="same"), Effect(what="same")])

    run(postgres_broker, worker_for, body)
    assert effects.seen == []
    (error,) = queue.values("SELECT error FROM pgqueue.dead_letters")
    assert error.startswith("IntegrityError")


def test_nested_transactions_are_savepoints(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    effects.execute("ALTER TABLE effects ADD UNIQUE (what)")

    def body() -> None:
        session().add(Effect(what="kept"))
        session().flush()
        with pytest.raises(IntegrityError), session().begin_nested():
            session().add_all([Effect(what="undone"), Effect(what="kept")])
        session().add(Effect(what="later"))

    run(postgres_broker, worker_for, body)
    assert effects.seen == ["kept", "later"]


def commit() -> None:
    session().commit()


def roll_back() -> None:
    session().rollback()


def commit_the_connection() -> None:
    session().connection().commit()


def commit_by_a_block() -> None:
    with session().begin():
        session().add(Effect(what="in a block"))


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (commit, "can't commit.*session.flush"),
        (roll_back, "can't roll back.*begin_nested"),
        (commit_the_connection, "can't commit|[Cc]an't operate|not allowed"),
        (commit_by_a_block, "can't commit.*session.flush"),
    ],
    ids=["commit", "roll back", "commit the connection", "commit by a block"],
)
def test_ending_the_transaction_is_refused(
    postgres_broker: PostgresBroker,
    queue: Queue,
    effects: Effects,
    worker_for: WorkerFor,
    end: Callable[[], None],
    error: str,
) -> None:
    def body() -> None:
        if end is not commit_by_a_block:
            session().add(Effect(what="effect"))
            session().flush()
        end()

    run(postgres_broker, worker_for, body)
    assert effects.seen == []
    (recorded,) = queue.values("SELECT error FROM pgqueue.dead_letters")
    assert re.search(error, recorded), recorded


def test_a_swallowed_error_of_a_statement_is_found(
    postgres_broker: PostgresBroker, queue: Queue, effects: Effects, worker_for: WorkerFor
) -> None:
    effects.execute("ALTER TABLE effects ADD UNIQUE (what)")

    def body() -> None:
        session().add_all([Effect(what="same"), Effect(what="same")])
        with pytest.raises(IntegrityError):
            session().flush()

    run(postgres_broker, worker_for, body)
    assert effects.seen == []
    (recorded,) = queue.values("SELECT error FROM pgqueue.dead_letters")
    assert recorded.startswith("TransactionEnded")
    assert "has gone on after a failed statement" in recorded


def test_options_of_the_session_are_passed_on(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    def body() -> None:
        made = session(autoflush=False, expire_on_commit=False)
        assert made.autoflush is False
        made.add(Effect(what="pending"))

    run(postgres_broker, worker_for, body)
    assert effects.seen == ["pending"]


def test_runs_of_coroutines_have_it_too(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    postgres_broker.add_middleware(AsyncIO())

    async def body() -> None:
        session().add(Effect(what="from the loop"))

    run(postgres_broker, worker_for, body)
    assert effects.seen == ["from the loop"]


def test_its_connection_is_as_before_in_the_next_run(
    postgres_broker: PostgresBroker, effects: Effects, worker_for: WorkerFor
) -> None:
    """Nothing that SQLAlchemy does to a connection piles up on one that is used again and again."""
    handlers: list[tuple[int, int]] = []

    @pgqueue.actor(transactional=True)
    def work() -> None:
        session().execute(text("SELECT 1"))
        conn: psycopg.Connection[Any] = pgqueue.current_transaction().connection
        handlers.append((conn.info.backend_pid, len(conn._notice_handlers)))

    work.send_many([() for _ in range(5)])
    worker_for(postgres_broker, worker_threads=1)
    postgres_broker.join("default", timeout=10_000)
    assert len(handlers) == 5
    assert len(set(handlers)) == 1
