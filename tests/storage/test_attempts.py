"""The rows that failed attempts leave, and that they are written with the verdict or not at all."""

from __future__ import annotations

from pgqueue.storage import messages, workers
from pgqueue.storage.attempts import MOST_READ, FailedAttempt, find_attempts
from pgqueue.storage.verdict_columns import Failure

from ..support.queue import Queue, done


def failed(queue: Queue) -> list[FailedAttempt]:
    ids = queue.values("SELECT DISTINCT message_id::text FROM pgqueue.attempts")
    found = find_attempts(queue.conn, queue.statements, message_ids=ids)
    return [attempt for some in found.values() for attempt in some]


def test_what_is_not_accepted_leaves_no_attempt(queue: Queue) -> None:
    queue.send("one")
    (message,) = queue.claimed(queue.owner())
    verdict = done(message, status="f", failure=Failure("ValueError: one", "Traceback", 3))
    assert queue.settle([verdict], owner=queue.owner()) == set()
    assert failed(queue) == []
    assert queue.settle([verdict], closes=True) == {message.id}
    (attempt,) = failed(queue)
    assert (attempt.kind, attempt.error, attempt.traceback, attempt.retries, attempt.worker) == (
        "f", "ValueError: one", "Traceback", 3, "here:1",
    )  # fmt: skip
    assert attempt.failed_at == queue.value("SELECT finished_at FROM pgqueue.outcomes")


def test_only_messages_that_are_charged_have_lost_a_worker(queue: Queue) -> None:
    queue.send("one", "two")
    owner = queue.owner()
    one, _ = queue.claimed(owner)
    queue.conn.execute(
        """INSERT INTO pgqueue.worker_states (owner, queues, actors, running, running_since)
        VALUES (%s, '{default}', '{actor}', %s, ARRAY[now() - interval '1 minute'])""",
        (owner, [one.id]),
    )
    messages.reclaim(
        queue.conn, queue.statements, owner=owner, threads=0, charged=[one.id], max_attempts=3, error="poison",
        lost="it is gone",
    )  # fmt: skip
    (attempt,) = failed(queue)
    assert (attempt.kind, attempt.error, attempt.worker) == ("l", "it is gone", "here:1")
    assert attempt.run_ms is not None
    assert 60_000 <= attempt.run_ms < 600_000


def test_a_lost_worker_whose_messages_nobody_knows_leaves_an_attempt_without_a_time(queue: Queue) -> None:
    for _ in range(3):
        if not queue.ready():
            queue.send("one")
        owner = queue.owner(threads=1)
        queue.claimed(owner)
        messages.reclaim(queue.conn, queue.statements, owner=owner, threads=1, max_attempts=3, error="poison")
        workers.remove(queue.conn, queue.statements, owner=owner)
    attempts = failed(queue)
    assert [(each.kind, each.run_ms, each.worker) for each in attempts] == 3 * [("l", None, "here:1")]
    assert attempts[0].failed_at == queue.value("SELECT finished_at FROM pgqueue.outcomes WHERE status = 'f'")


def test_no_more_of_one_message_are_read_than_a_page_can_show(queue: Queue) -> None:
    queue.conn.execute(
        """INSERT INTO pgqueue.attempts (failed_at, message_id, lane, slice, kind, actor_name, traceback)
        SELECT now() - n * interval '1 second', md5(odd::text)::uuid, 1, n %% 16, 'r', 'actor', 'long'
        FROM generate_series(1, %s) AS n, generate_series(0, 1) AS odd""",
        (2 * MOST_READ,),
    )
    found = find_attempts(queue.conn, queue.statements, message_ids=["0", "1", "2"], tracebacks=False)
    assert {name: len(some) for name, some in found.items()} == {"0": MOST_READ, "1": MOST_READ}
    assert {each.traceback for each in found["0"]} == {None}
    assert [each.failed_at for each in found["0"]] == sorted(
        (each.failed_at for each in found["0"]), reverse=True
    )
