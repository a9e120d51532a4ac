"""Waiting for a result or an event: told at once, over one connection, and not in vain if nobody tells."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pgqueue.engine import mailbox as module
from pgqueue.engine.mailbox import Mailbox
from pgqueue.errors import DatabaseUnavailable
from pgqueue.storage import results
from pgqueue.storage.results import StoredResult

from ..support.eventually import eventually
from ..support.queue import Queue

#: Milliseconds that no test lasts for.
LONG = 20_000


@pytest.fixture
def mailbox(queue: Queue) -> Iterator[Mailbox]:
    made = Mailbox(queue.database)
    yield made
    made.close()


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a waiting thread look so seldom by itself that only a notification is in time."""
    monkeypatch.setattr(module, "FIRST_LOOK_S", 60.0)
    monkeypatch.setattr(module, "LAST_LOOK_S", 60.0)
    monkeypatch.setattr(module, "UNTOLD_LOOK_S", 60.0)


def store(queue: Queue, key: str) -> None:
    """Store something under a key, outside of any ack."""
    results.store(queue.conn, queue.statements, result=StoredResult(key, b"it", LONG))


def finder(queue: Queue, key: str, looks: list[float] | None = None) -> Callable[[], bytes | None]:
    """What looks for a key's result, and notes when."""

    def look() -> bytes | None:
        if looks is not None:
            looks.append(time.monotonic())
        with queue.database.connection() as conn:
            return results.find(conn, queue.statements, key=key)

    return look


def words(queue: Queue) -> int:
    return int(queue.value("SELECT count(*) FROM pgqueue.waits"))


def connections(queue: Queue) -> list[int]:
    return queue.values(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgqueue mailbox' AND datname = current_database()"
    )


def has_left_word(queue: Queue, number: int = 1) -> None:
    def left() -> None:
        assert words(queue) == number

    eventually(left)


@pytest.mark.usefixtures("seldom")
def test_whoever_waits_is_told_at_once(queue: Queue, mailbox: Mailbox) -> None:
    looks: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mailbox.wait, "key", finder(queue, "key", looks), timeout_ms=LONG)
        has_left_word(queue)
        store(queue, "other")
        store(queue, "key")
        assert waiting.result(timeout=5) == b"it"
    # Before the connection stood, then after word was left, then when it was told.
    assert len(looks) <= 3


@pytest.mark.usefixtures("seldom")
def test_all_threads_of_a_process_hear_through_one_connection(queue: Queue, mailbox: Mailbox) -> None:
    keys = [f"key{number}" for number in range(8)] * 2
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(mailbox.wait, key, finder(queue, key), timeout_ms=LONG) for key in keys]
        has_left_word(queue, 16)
        assert len(connections(queue)) == 1
        for key in set(keys):
            store(queue, key)
        assert [waiter.result(timeout=5) for waiter in waiting] == [b"it"] * 16


def test_what_is_stored_while_word_is_left_is_found(queue: Queue, mailbox: Mailbox) -> None:
    """It may be stored by a statement that does not see the word yet: then the next look finds it."""
    looks = 0

    def look() -> bytes | None:
        nonlocal looks
        looks += 1
        if looks == 2:
            queue.conn.execute("DELETE FROM pgqueue.waits")
            store(queue, "key")
            return None
        return finder(queue, "key")()

    began = time.monotonic()
    assert mailbox.wait("key", look, timeout_ms=LONG) == b"it"
    assert time.monotonic() - began < 2.0


def test_waiting_ends_with_the_timeout(queue: Queue, mailbox: Mailbox) -> None:
    began = time.monotonic()
    assert mailbox.wait("key", finder(queue, "key"), timeout_ms=50) is None
    assert 0.05 <= time.monotonic() - began < 2.0


def test_a_long_wait_asks_a_few_times_only(queue: Queue, mailbox: Mailbox) -> None:
    looks: list[float] = []
    assert mailbox.wait("key", finder(queue, "key", looks), timeout_ms=1500) is None
    assert len(looks) <= 14


def test_word_of_those_who_wait_no_more_is_taken_back(
    queue: Queue, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_S", 0.02)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mailbox.wait, "key", finder(queue, "key"), timeout_ms=300)
        has_left_word(queue)
        assert waiting.result(timeout=5) is None
    has_left_word(queue, 0)


def test_the_connection_is_closed_when_nobody_waits_for_a_while_and_opened_again(
    queue: Queue, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROUND_S", 0.02)
    monkeypatch.setattr(module, "IDLE_S", 0.1)

    def closed() -> None:
        assert connections(queue) == []

    for key in ("first", "second"):
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(mailbox.wait, key, finder(queue, key), timeout_ms=LONG)
            has_left_word(queue)
            assert len(connections(queue)) == 1
            store(queue, key)
            assert waiting.result(timeout=5) == b"it"
        eventually(closed)


def test_a_connection_that_is_killed_is_replaced_and_nobody_misses_anything(
    queue: Queue, mailbox: Mailbox
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mailbox.wait, "key", finder(queue, "key"), timeout_ms=LONG)
        has_left_word(queue)
        (pid,) = connections(queue)
        queue.conn.execute("SELECT pg_terminate_backend(%s)", (pid,))

        def replaced() -> None:
            assert connections(queue) not in ([], [pid])

        eventually(replaced)
        store(queue, "key")
        assert waiting.result(timeout=5) == b"it"


def test_where_notifications_can_not_be_had_it_looks_by_itself(
    queue: Queue, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> psycopg.Connection:
        raise DatabaseUnavailable("no further connections")

    monkeypatch.setattr(queue.database, "connect", refuse)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mailbox.wait, "key", finder(queue, "key"), timeout_ms=LONG)
        store(queue, "key")
        assert waiting.result(timeout=5) == b"it"
    assert words(queue) == 0


def test_closing_leaves_those_who_wait_to_look_by_themselves(queue: Queue, mailbox: Mailbox) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mailbox.wait, "key", finder(queue, "key"), timeout_ms=LONG)
        has_left_word(queue)
        mailbox.close()

        def closed() -> None:
            assert connections(queue) == []

        eventually(closed)
        store(queue, "key")
        assert waiting.result(timeout=5) == b"it"


def test_nothing_is_told_when_nobody_waits(queue: Queue) -> None:
    with psycopg.connect(queue.database.url, autocommit=True) as listener:
        listener.execute('LISTEN "pgqueue:somebody"')
        store(queue, "key")
        queue.conn.execute("INSERT INTO pgqueue.waits VALUES ('other', 'pgqueue:somebody', 7)")
        store(queue, "key")
        assert [*listener.notifies(timeout=0.2)] == []
        store(queue, "other")
        assert [told.payload for told in listener.notifies(timeout=5, stop_after=1)] == ["7"]


def test_a_forked_child_waits_through_a_connection_of_its_own(queue: Queue, mailbox: Mailbox) -> None:
    assert mailbox.wait("key", finder(queue, "key"), timeout_ms=100) is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads; it is what is tested
        child = os.fork()
    if not child:
        # The parent's connections are not the child's to close, so it ends without any tidying up.
        with psycopg.connect(queue.database.url, autocommit=True) as conn:
            stored = StoredResult("key", b"child", LONG)
            store_soon = threading.Timer(0.3, lambda: results.store(conn, queue.statements, result=stored))
            store_soon.start()

            def look() -> bytes | None:
                with psycopg.connect(queue.database.url) as own:
                    return results.find(own, queue.statements, key="key")

            os._exit(0 if mailbox.wait("key", look, timeout_ms=LONG) == b"child" else 1)
    assert os.waitpid(child, 0)[1] == 0
