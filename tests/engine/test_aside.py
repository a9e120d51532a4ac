"""Messages of what is paused are put aside, also when the database is away at first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgqueue.engine.aside import Aside
from pgqueue.engine.session import Session
from pgqueue.errors import DatabaseUnavailable
from pgqueue.storage import messages
from pgqueue.storage.messages import ClaimedMessage

from ..support.queue import Queue


@pytest.fixture
def session(queue: Queue) -> Iterator[Session]:
    opened = Session(queue.database, threads=1)
    opened.open()
    yield opened
    opened.close()


def claimed(queue: Queue, session: Session, *payloads: str) -> list[ClaimedMessage]:
    queue.send(*payloads)
    owner = session.leases.current()
    assert owner is not None
    messages = queue.claimed(owner)
    session.leases.add(messages)
    return messages


def parked(queue: Queue) -> list[str]:
    return [bytes(value).decode() for value in queue.values("SELECT payload FROM pgqueue.parked ORDER BY id")]


def test_some_are_parked_and_others_given_back(queue: Queue, session: Session) -> None:
    done: list[int] = []
    aside = Aside(session, done.append)
    one, two, three = claimed(queue, session, "1", "2", "3")
    aside.add(one, park=True)
    aside.add(two, park=False)
    aside.add(three, park=True)
    aside.write()
    aside.write()
    assert parked(queue) == ["1", "3"]
    assert queue.ready() == ["2"]
    assert sorted(done) == [1, 2]
    assert session.leases.lids(one.lease.owner) == []
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0


def test_what_can_not_be_written_waits_for_the_next_time(
    queue: Queue, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []
    aside = Aside(session, done.append)
    (one,) = claimed(queue, session, "1")
    aside.add(one, park=True)

    def away(*_: object, **__: object) -> int:
        raise DatabaseUnavailable("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(messages, "requeue", away)
        with pytest.raises(DatabaseUnavailable):
            aside.write()
    assert done == []
    aside.write()
    assert done == [1]
    assert parked(queue) == ["1"]
    assert aside.take_all() == []


def test_what_was_given_to_others_meanwhile_is_left_to_them(queue: Queue, session: Session) -> None:
    aside = Aside(session, lambda _: None)
    (one,) = claimed(queue, session, "1")
    queue.conn.execute("DELETE FROM pgqueue.leases")
    aside.add(one, park=True)
    aside.write()
    assert parked(queue) == []


def test_what_was_not_put_aside_at_the_end_goes_back(queue: Queue, session: Session) -> None:
    aside = Aside(session, lambda _: None)
    one, two = claimed(queue, session, "1", "2")
    aside.add(one, park=True)
    aside.add(two, park=False)
    assert aside.take_all() == [one, two]
    assert aside.take_all() == []
