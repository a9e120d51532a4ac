"""Whatever stands in a row: it runs, or it is kept among the dead letters with its bytes and the reason; nobody stops.

Others write to the queue, too: programs in other languages, of other versions, with faults. `PGQUEUE_DRILLS=full` looks
for new rows, many of them; otherwise the same few hundred are tried each time.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.storage import dead_letters

from ..conftest import WorkerFor
from ..support.queue import Queue

FULL = os.environ.get("PGQUEUE_DRILLS") in {"full", "reach"}

UNRECORDED = {"undecodable", "unrecordable"}

MESSAGE = {
    "queue_name": "default",
    "actor_name": "note",
    "args": ["x"],
    "kwargs": {},
    "options": {},
    "message_id": "8f3c0b4e-30f0-4f53-9e3e-1f6d1b6f3f10",
    "message_timestamp": 1_700_000_000_000,
}

#: Options that hooks read, but for those that may put a message off for longer than a test has.
OPTIONS = (
    "max_age", "time_limit", "notify_shutdown", "traceback", "requeue_timestamp", "throws", "pipe_target",
    "pipe_ignore", "on_success", "on_failure", "on_retry_exhausted", "store_results", "result_ttl", "broker_priority",
    "group_callback_uuid", "group_callback_barrier_ttl", "group_callbacks", "cancellable", "transactional",
)  # fmt: skip

#: Half a pair, and what PostgreSQL can't store.
ODD = ["\ud83d", "a\0b"]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def with_field(name: str, value: Any) -> bytes:
    return json.dumps({**MESSAGE, name: value}).encode()


def with_option(name: str, value: Any) -> bytes:
    return with_field("options", {name: value})


payloads = st.one_of(
    st.builds(with_field, st.sampled_from([*MESSAGE, "unheard_of"]), values).filter(
        lambda payload: b'"eta"' not in payload
    ),
    st.builds(with_option, st.sampled_from(OPTIONS), values),
    st.builds(with_option, st.just("retries"), st.text() | st.lists(st.none()) | st.integers(min_value=0)),
    st.sampled_from(list(MESSAGE)).map(
        lambda left_out: json.dumps(
            {name: value for name, value in MESSAGE.items() if name != left_out}
        ).encode()
    ),
    st.integers(0, len(json.dumps(MESSAGE))).map(lambda length: json.dumps(MESSAGE).encode()[:length]),
    values.map(lambda value: json.dumps(value).encode()),
    st.integers(1, 200_000).map(lambda depth: b"[" * depth),
    st.integers(1, 5_000).map(lambda digits: b'{"a": ' + b"9" * digits + b"}"),
    st.binary(max_size=50),
)


def corpus() -> list[bytes]:
    """Rows drawn before any worker runs: its threads use the `random` module, as drawing does."""
    drawn: list[bytes] = []

    @settings(
        max_examples=20_000 if FULL else 400,
        deadline=None,
        database=None,
        derandomize=not FULL,
        suppress_health_check=list(HealthCheck),
    )
    @given(payload=payloads)
    def draw(payload: bytes) -> None:
        drawn.append(payload)

    draw()
    return drawn


@pytest.mark.slow
@pytest.mark.timeout(900 if FULL else 120)
def test_any_bytes_run_or_are_kept_and_stop_nobody(
    postgres_broker: PostgresBroker, queue: Queue, worker_for: WorkerFor
) -> None:
    last: list[str] = []

    @pgqueue.actor(max_retries=1, min_backoff=1, max_backoff=1)
    def note(*args: Any, **kwargs: Any) -> None:
        """Take whatever there is."""

    @pgqueue.actor
    def at_last(text: str) -> None:
        last.append(text)

    rows = corpus()
    for start in range(0, len(rows), 100):
        queue.send(*rows[start : start + 100])
    worker = worker_for(postgres_broker, worker_threads=4)
    postgres_broker.join("default", timeout=800_000 if FULL else 100_000)

    letters = dead_letters.list_dead_letters(
        queue.conn, queue.statements, queue_name="default", limit=len(rows)
    )
    assert all(letter.reason and letter.error for letter in letters)
    # Of these nothing else is recorded: neither of what can't be read, nor of what has an id that can't be stored.
    kept = Counter(bytes(letter.payload) for letter in letters if letter.reason in UNRECORDED)
    assert kept <= Counter(rows)
    ended = queue.value("SELECT count(*) FROM pgqueue.outcomes")
    assert ended + kept.total() == len(rows)
    assert min(ended, kept.total()) > len(rows) / 10, "the rows are all of one kind"

    at_last.send("goes on")
    postgres_broker.join("default", timeout=10_000)
    assert last == ["goes on"]
    assert all(thread.is_alive() for thread in worker.workers)
