"""Lists of dead letters read no more of large messages than they show."""

from __future__ import annotations

import pytest

from pgqueue.dashboard.letters import MOST_BYTES
from pgqueue.operations import acting
from pgqueue.storage import dead_letters
from pgqueue.storage.dead_letters import LetterFilter
from tests.support.queue import Queue

from .conftest import Visitor, bury, encoded


@pytest.fixture
def large(queue: Queue) -> bytes:
    """The bytes of a letter of two megabytes, which has a small one beside it."""
    bury(queue, "small", actor="actor")
    bury(queue, "large", actor="actor")
    payload = encoded("actor", "x" * 2_000_000, message_id="large")
    queue.conn.execute("UPDATE pgqueue.dead_letters SET payload = %s WHERE foreign_id = 'large'", (payload,))
    return payload


def test_a_list_says_where_the_call_of_a_large_letter_is(visitor: Visitor, large: bytes) -> None:
    for path, shown in (("/dead", "letters"), ("/dead/all", "sample")):
        calls = {letter["message_id"]: letter["call"] for letter in visitor.json(path)[shown]}
        assert calls["large"] == {
            "too_large": "the page of the message has it: /message?id=large", "bytes": len(large),
        }  # fmt: skip
        assert calls["small"]["args"] == ["secret"]
    assert len(visitor.get("/dead.json").content) < MOST_BYTES
    assert visitor.json("/message", id="large")["call"]["args"] == ["x" * 2_000_000]


def test_no_more_is_read_than_is_asked_for(queue: Queue, large: bytes) -> None:
    def sizes(most_bytes: int | None) -> list[tuple[int | None, int]]:
        letters = dead_letters.browse(
            queue.conn, queue.statements, which=LetterFilter(), most_bytes=most_bytes
        )
        return [(letter.size, len(letter.payload)) for letter in letters]

    (_, small), whole = sizes(None)[1], (len(large), len(large))
    assert sizes(None) == [whole, (small, small)]
    assert sizes(len(large)) == [whole, (small, small)]
    assert sizes(len(large) - 1) == [(len(large), 0), (small, small)]
    assert sizes(0) == [(len(large), 0), (small, 0)]


def test_actions_on_all_keep_or_drop_the_whole(visitor: Visitor, queue: Queue, large: bytes) -> None:
    assert "2 dead letters requeued." in visitor.act("/dead/all?action=requeue").text
    assert queue.value("SELECT max(length(payload)) FROM pgqueue.messages") >= 2_000_000
    bury(queue, "other")
    assert "1 dead letters deleted for good." in visitor.act("/dead/all?action=purge").text
    bury(queue, "other")
    assert sum(acting.purge_letters(queue.database, LetterFilter())) == 1
