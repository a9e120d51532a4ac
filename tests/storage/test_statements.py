"""Statements of which a caller takes some parts only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgqueue.storage.messages import NewMessage, StoredResult, Verdict
from pgqueue.storage.statements import Statements, keep_parts
from pgqueue.storage.verdict_columns import Failure

from ..support.queue import Queue, done

TEXT = """SELECT 1
--[ with more
, 2
--]
--[ with most
, 3
--]
"""


@pytest.mark.parametrize(
    ("parts", "kept"),
    [
        (None, "SELECT 1\n, 2\n, 3\n"),
        ((), "SELECT 1\n"),
        (("more",), "SELECT 1\n, 2\n"),
        (("most",), "SELECT 1\n, 3\n"),
    ],
)
def test_a_marked_part_is_kept_for_those_who_name_it(parts: tuple[str, ...] | None, kept: str) -> None:
    assert keep_parts(TEXT, parts) == kept


def test_parts_that_are_left_out_take_their_parameters_along() -> None:
    alone = Statements().compiled("messages/settle", (0,), parts=frozenset())
    whole = Statements().compiled("messages/settle", (0,))

    assert set(alone.names) < set(whole.names)
    assert {"result_keys", "new_keys", "dead_ids", "failed_ids", "channel"} <= set(whole.names) - set(
        alone.names
    )


def add_result(queue: Queue, verdict: Verdict) -> None:
    verdict.results = [StoredResult("key", b"value", 60_000)]


def add_follow_up(queue: Queue, verdict: Verdict) -> None:
    verdict.follow_ups = [NewMessage(queue.lane(), "default", "next", "actor", b"next")]


def bury(queue: Queue, verdict: Verdict) -> None:
    verdict.status, verdict.reason = "f", "failed"


def fail(queue: Queue, verdict: Verdict) -> None:
    verdict.failure = Failure("ValueError: bad", None, 0)


WRITES: dict[str, Callable[[Queue, Verdict], None]] = {
    "results": add_result,
    "messages": add_follow_up,
    "dead_letters": bury,
    "attempts": fail,
}


@pytest.mark.parametrize(
    "chosen", [(), ("results",), ("messages",), ("dead_letters",), ("attempts",), tuple(WRITES)]
)
def test_a_group_writes_what_its_verdicts_need_and_nothing_else(
    queue: Queue, chosen: tuple[str, ...]
) -> None:
    queue.send("one", "two")
    first, second = (done(message) for message in queue.claimed(queue.owner(), limit=2))
    before = {table: queue.value(f"SELECT count(*) FROM pgqueue.{table}") for table in WRITES}

    for name in chosen:
        WRITES[name](queue, second)
    accepted = queue.settle([first, second], closes=True)

    assert accepted == {first.message.id, second.message.id}
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 2
    assert queue.value("SELECT count(*) FROM pgqueue.leases") == 0
    written = {
        table: queue.value(f"SELECT count(*) FROM pgqueue.{table}") - before[table] for table in WRITES
    }
    assert written == {table: int(table in chosen) for table in WRITES}
