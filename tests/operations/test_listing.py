"""Lists of messages: whole, in order, page by page, and at the cost of a page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgqueue.operations.listing import BadCursor, MessageFilter, list_messages
from pgqueue.storage import listings
from tests.support.plans import buffers, explained
from tests.support.queue import Queue, done


def all_pages(queue: Queue, which: MessageFilter, *, limit: int) -> Iterator[str]:
    """The ids of a list, over all its pages."""
    cursor = None
    while True:
        page = list_messages(queue.database, which, limit=limit, cursor=cursor)
        assert len(page.messages) <= limit
        yield from (message.message_id for message in page.messages)
        if page.cursor is None:
            return
        assert page.cursor != cursor
        cursor = page.cursor


def send(queue: Queue, *ids: str, **options: object) -> None:
    queue.send_all([queue.new("x", message_id=id_, **options) for id_ in ids])  # type: ignore[arg-type]


@pytest.fixture
def full(queue: Queue) -> Queue:
    """Messages in all states; ids that are no UUIDs tell which is which."""
    send(queue, "held 1", "held 2")
    queue.claimed(queue.owner())
    send(queue, "late 1", "late 2", priority=5)
    send(queue, "early 1", "early 2", priority=-5)
    send(queue, "other 1", queue_name="other")
    send(queue, "due 2", delay_ms=7_200_000)
    send(queue, "due 1", delay_ms=3_600_000)
    queue.conn.execute(
        """INSERT INTO pgqueue.parked (id, enqueued_at, message_id, lane, attempts, foreign_id, actor_name, payload)
        SELECT 1, now(), gen_random_uuid(), %s, 0, 'parked 1', 'paused', ''""",
        (queue.lane(),),
    )
    return queue


LIVE = ["held 1", "held 2", "early 1", "early 2", "other 1", "late 1", "late 2", "parked 1", "due 1", "due 2"]


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_pages_show_all_messages_in_the_order_in_which_they_run(full: Queue, limit: int) -> None:
    found = list(all_pages(full, MessageFilter(), limit=limit))
    assert found == LIVE


def test_filters_fit_all_that_they_name(full: Queue) -> None:
    assert list(all_pages(full, MessageFilter(queue_name="other"), limit=5)) == ["other 1"]
    assert list(all_pages(full, MessageFilter(actor_name="paused"), limit=5)) == ["parked 1"]
    assert list(all_pages(full, MessageFilter(("scheduled",)), limit=5)) == ["due 1", "due 2"]
    assert list(all_pages(full, MessageFilter(("queued",), actor_name="nobody"), limit=5)) == []
    assert list(all_pages(full, MessageFilter(queue_name="no such"), limit=5)) == []


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_ended_messages_come_the_youngest_first(queue: Queue, limit: int) -> None:
    send(queue, *(str(number) for number in range(20)))
    for number, message in enumerate(queue.claimed(queue.owner())):
        verdict = done(message, status="d" if number % 2 else "c")
        verdict.message_id = str(number)
        queue.settle([verdict])
    youngest = [str(number) for number in reversed(range(20))]
    assert list(all_pages(queue, MessageFilter(("done", "cancelled")), limit=limit)) == youngest
    assert list(all_pages(queue, MessageFilter(("done",)), limit=limit)) == youngest[::2]
    assert list(all_pages(queue, MessageFilter(("done",), actor_name="nobody"), limit=limit)) == []


def test_a_page_in_which_little_fits_ends_all_the_same(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgqueue.operations.listing.CHUNK", 10)
    monkeypatch.setattr("pgqueue.operations.listing.MOST_LOOKED_AT", 30)
    send(queue, *(str(number) for number in range(100)))
    page = list_messages(queue.database, MessageFilter(actor_name="nobody"))
    assert page.messages == []
    assert page.cursor is not None
    assert list(all_pages(queue, MessageFilter(actor_name="nobody"), limit=5)) == []
    assert len(list(all_pages(queue, MessageFilter(), limit=7))) == 100


def test_outcomes_that_do_not_fit_are_searched_in_parts(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgqueue.operations.listing.BLOCKS", 1)
    monkeypatch.setattr("pgqueue.operations.listing.MOST_BLOCKS", 2)
    queue.conn.execute(
        """INSERT INTO pgqueue.outcomes
            (id, finished_at, message_id, foreign_id, lane, wait_ms, run_ms, slice, attempts, status, actor_name)
        SELECT
            n, now(), gen_random_uuid(), n::text, %s, 0, 0, (extract(epoch FROM now())::bigint / 7200 %% 16)::smallint,
            0, 'd', CASE WHEN n IN (1, 999) THEN 'seldom' ELSE 'often' END
        FROM generate_series(1, 1000) AS n""",
        (queue.lane(),),
    )
    which = MessageFilter(("done",), actor_name="seldom")
    assert list(all_pages(queue, which, limit=5)) == ["999", "1"]
    first = list_messages(queue.database, which, limit=5)
    assert [message.message_id for message in first.messages] == ["999"]
    assert first.cursor is not None
    assert len(list(all_pages(queue, MessageFilter(("done",)), limit=300))) == 1000


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "WyJxdWV1ZWQgOTkiLCAwLCAwXQ",
        "WyJwYXJrZWQiLCAxLCAyXQ",
        "WyJzY2hlZHVsZWQiLCAidG9kYXkiLCAwXQ",
        "W10",
        "\N{SNOWMAN}",
    ],
)
def test_a_cursor_of_another_list_is_refused(queue: Queue, cursor: str) -> None:
    with pytest.raises(BadCursor, match="no place in this list"):
        list_messages(queue.database, MessageFilter(), cursor=cursor)


def test_a_page_of_a_long_queue_reads_a_page(queue: Queue) -> None:
    queue.send(*[b"x"] * 5_000)
    conn = queue.connect(enable_seqscan="off", enable_bitmapscan="off")
    lane = (queue.lane(), "default", 0)
    rows, plan = explained(
        conn, lambda: listings.list_ready(conn, queue.statements, lane=lane, after=(0, 0), limit=20)
    )
    assert len(rows) == 20
    assert buffers(plan) < 150
