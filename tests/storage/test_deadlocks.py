"""Two transactions that wait for each other: the one that the server ends is made again."""

import threading
from collections.abc import Iterator

import pytest
from psycopg import errors

from pgqueue.storage import deadlocks
from pgqueue.storage.deadlocks import again_after_deadlock, is_deadlock

from ..support.queue import Queue, open_queue

LOCK = "UPDATE pgqueue.lanes SET priority = priority WHERE id = %s"


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with open_queue(database_url) as opened:
        yield opened


def test_it_is_made_again_once_the_other_has_got_through(queue: Queue) -> None:
    one, two = queue.lane("one"), queue.lane("two")
    other = queue.connect()
    # The first to look finds the deadlock and is its victim.
    mine = queue.connect(deadlock_timeout="10ms")
    other.execute("BEGIN")
    other.execute(LOCK, (one,))
    attempts = []

    def get_through() -> None:
        other.execute(LOCK, (two,))
        other.execute("COMMIT")

    thread = threading.Thread(target=get_through)

    @again_after_deadlock
    def act() -> str:
        attempts.append("begun")
        with mine.transaction():
            mine.execute(LOCK, (two,))
            if len(attempts) == 1:
                thread.start()
            mine.execute(LOCK, (one,))
            return "done"

    assert act() == "done"
    thread.join()
    assert 1 <= len(attempts) <= 3


def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlocks, "PAUSE_S", 0.0)
    attempts = []

    @again_after_deadlock
    def act() -> None:
        attempts.append("begun")
        raise errors.DeadlockDetected

    with pytest.raises(errors.DeadlockDetected):
        act()
    assert len(attempts) == deadlocks.ATTEMPTS


def test_a_deadlock_is_known_by_its_error() -> None:
    assert is_deadlock(errors.DeadlockDetected())
    assert not is_deadlock(errors.LockNotAvailable())
