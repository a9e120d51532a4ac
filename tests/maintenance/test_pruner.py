"""What is thrown away when, and that nothing else is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pgqueue.maintenance import pruner
from pgqueue.maintenance.pruner import Pruner
from pgqueue.storage import results, retention
from pgqueue.storage.results import StoredResult
from pgqueue.storage.verdict_columns import Failure

from ..support.queue import Queue, done

#: Seconds that may pass between a pruner's look at the clock and its TRUNCATE, or a row's instant and its commit.
STALE_S = 30

seconds = st.integers(min_value=10**9, max_value=2 * 10**9)


def result_slice(now_s: float, ttl_ms: float) -> int:
    """The slice that settle.sql and results/store.sql compute."""
    if ttl_ms <= 7_200_000:
        return round(now_s + ttl_ms / 1000) // 600 % 16
    if ttl_ms <= retention.LONG_TTL_MS:
        return 16 + round(now_s + ttl_ms / 1000) // 86_400 % 16
    return retention.LONGEST


@given(written=st.floats(10**9, 2 * 10**9), age_s=st.floats(-STALE_S, 24 * 3600))
def test_no_outcome_of_the_last_24_hours_lies_in_an_expired_slice(written: float, age_s: float) -> None:
    slice_ = round(written) // retention.OUTCOME_WIDTH_S % retention.OUTCOME_SLICES
    assert ("outcomes", slice_) not in set(retention.expired_slices(round(written + age_s)))


@given(
    stored=st.floats(10**9, 2 * 10**9),
    ttl_ms=st.one_of(st.floats(0, 7_200_000), st.floats(0, retention.LONG_TTL_MS), st.floats(0, 10**12)),
    part=st.floats(0, 1),
    stale_s=st.floats(0, STALE_S),
)
def test_no_result_that_has_not_expired_lies_in_an_expired_slice(
    stored: float, ttl_ms: float, part: float, stale_s: float
) -> None:
    now = stored + part * ttl_ms / 1000 - stale_s
    assert ("results", result_slice(stored, ttl_ms)) not in set(retention.expired_slices(int(now)))


@given(
    written=st.floats(10**9, 2 * 10**9),
    ttl_s=st.floats(1, 12 * 86_400),
    part=st.floats(0, 1),
    stale_s=st.floats(0, STALE_S),
)
def test_no_attempt_that_is_to_be_kept_lies_in_an_expired_slice(
    written: float, ttl_s: float, part: float, stale_s: float
) -> None:
    slice_ = round(written) // retention.ATTEMPT_WIDTH_S % retention.ATTEMPT_SLICES
    now = round(written + part * ttl_s - stale_s)
    assert ("attempts", slice_) not in set(retention.expired_attempts(now, ttl_s=ttl_s))


@given(start=seconds, ttl_s=st.floats(0, 100 * 86_400))
def test_every_slice_of_attempts_is_emptied_before_it_is_used_again(start: int, ttl_s: float) -> None:
    looks = range(start, start + 16 * retention.ATTEMPT_WIDTH_S, retention.ATTEMPT_WIDTH_S // 2)
    emptied = {part for now in looks for part in retention.expired_attempts(now, ttl_s=ttl_s)}
    assert emptied == {("attempts", number) for number in range(retention.ATTEMPT_SLICES)}


@given(start=seconds)
def test_every_slice_but_the_longest_is_emptied_before_it_is_used_again(start: int) -> None:
    """Looking each ten minutes for as long as the widest ring takes to go round."""
    emptied = {
        part for number in range(16 * 24 * 6) for part in retention.expired_slices(start + 600 * number)
    }
    outcomes = {("outcomes", number) for number in range(retention.OUTCOME_SLICES)}
    assert emptied == outcomes | {("results", number) for number in range(retention.LONGEST)}


@pytest.mark.parametrize(
    "ttl", [1, 600_000, 7_200_000, 7_200_001, 86_400_000, 1_036_800_000, 1_036_800_001, 10**11]
)
def test_a_result_is_stored_in_the_slice_of_its_expiry(queue: Queue, ttl: float) -> None:
    def slices() -> set[int]:
        now = queue.value("SELECT extract(epoch FROM clock_timestamp())::float8")
        return {result_slice(now, ttl), result_slice(now - 0.1, ttl)}

    before = slices()
    results.store(queue.conn, queue.statements, result=StoredResult("apart", b"x", ttl))
    queue.send("one")
    (message,) = queue.claimed(queue.owner())
    queue.settle([done(message, results=[StoredResult("with the ack", b"x", ttl)])])
    found = set(queue.values("SELECT slice FROM pgqueue.results"))
    assert len(queue.values("SELECT key FROM pgqueue.results")) == 2
    assert found <= before | slices()


def run(queue: Queue, monkeypatch: pytest.MonkeyPatch, *, in_s: float = 0.0, **options: Any) -> float:
    """Run a pruner as if so many seconds had passed."""

    def later(*_: object) -> int:
        return int(queue.value("SELECT extract(epoch FROM clock_timestamp())::bigint")) + int(in_s)

    monkeypatch.setattr(retention, "now_s", later)
    return Pruner(queue.statements, **options).run_once(queue.connect()).in_s


def run_in_the_next_slices_time(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run twice, in case that the first run would be just at the border of two slices."""
    for in_s in (600, 610):
        run(queue, monkeypatch, in_s=in_s)


def test_outcomes_are_kept_for_a_day_and_gone_after_two(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.send("one")
    (message,) = queue.claimed(queue.owner())
    queue.settle([done(message)])
    for hours in range(0, 25, 2):
        run(queue, monkeypatch, in_s=3600 * hours)
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 1
    for hours in range(26, 48, 2):
        run(queue, monkeypatch, in_s=3600 * hours)
    assert queue.value("SELECT count(*) FROM pgqueue.outcomes") == 0


def test_attempts_are_kept_for_as_long_as_dead_letters(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.send("one")
    (message,) = queue.claimed(queue.owner())
    queue.settle([done(message, status=None, failure=Failure("ValueError", None, 0))])
    for hours in range(0, 7 * 24, 12):
        run(queue, monkeypatch, in_s=3600 * hours)
    assert queue.value("SELECT count(*) FROM pgqueue.attempts") == 1
    for hours in range(8 * 24, 10 * 24, 12):
        run(queue, monkeypatch, in_s=3600 * hours)
    assert queue.value("SELECT count(*) FROM pgqueue.attempts") == 0


def test_results_are_gone_some_time_after_their_end(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for ttl in (600_000, 86_400_000):
        results.store(queue.conn, queue.statements, result=StoredResult(str(ttl), b"x", ttl))
    for minutes in range(0, 40, 5):
        run(queue, monkeypatch, in_s=60 * minutes)
    assert queue.values("SELECT key FROM pgqueue.results") == ["86400000"]
    for hours in range(1, 80, 12):
        run(queue, monkeypatch, in_s=3600 * hours)
    assert queue.values("SELECT key FROM pgqueue.results") == []


def test_results_for_months_are_deleted_one_by_one(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("expired", "valid"):
        results.store(queue.conn, queue.statements, result=StoredResult(key, b"x", 10**10))
    queue.conn.execute("UPDATE pgqueue.results SET expires_at = now() - interval '1 s' WHERE key = 'expired'")
    assert run(queue, monkeypatch) == pruner.INTERVAL_S
    assert queue.values("SELECT key FROM pgqueue.results") == ["valid"]


def test_a_slice_that_somebody_reads_waits_for_the_next_look(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.store(queue.conn, queue.statements, result=StoredResult("one", b"x", 1000))
    with queue.connect() as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM pgqueue.results")
        run_in_the_next_slices_time(queue, monkeypatch)
        assert queue.value("SELECT count(*) FROM pgqueue.results") == 1
    run_in_the_next_slices_time(queue, monkeypatch)
    assert queue.value("SELECT count(*) FROM pgqueue.results") == 0


@pytest.mark.parametrize(("ttl_s", "kept"), [(None, 1), (3600.0, 0)])
def test_dead_letters_are_kept_for_seven_days_unless_told_otherwise(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, ttl_s: float | None, kept: int
) -> None:
    queue.send("one", "two")
    claimed = queue.claimed(queue.owner())
    queue.settle([done(message, status="f", reason="failed") for message in claimed])
    for number, days in enumerate((6.9, 7.1)):
        queue.conn.execute(
            "UPDATE pgqueue.dead_letters SET died_at = died_at - %s WHERE payload = %s",
            (timedelta(days=days), [b"one", b"two"][number]),
        )
    run(queue, monkeypatch, **({} if ttl_s is None else {"dead_letter_ttl_s": ttl_s}))
    assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == kept


def test_a_full_batch_is_followed_by_the_next_at_once(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruner, "BATCH", 3)
    queue.send(*map(str, range(5)))
    claimed = queue.claimed(queue.owner())
    queue.settle([done(message, status="f", reason="failed") for message in claimed])
    queue.conn.execute("UPDATE pgqueue.dead_letters SET died_at = died_at - interval '8 days'")
    assert run(queue, monkeypatch) == 0.0
    assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 2
    assert run(queue, monkeypatch) == pruner.INTERVAL_S
    assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0


@pytest.mark.slow
def test_sixteen_thousand_dead_letters_are_purged_in_a_row(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.send(*map(str, range(16_000)))
    claimed = queue.claimed(queue.owner(), limit=16_000)
    queue.settle([done(message, status="f", reason="failed") for message in claimed])
    assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 16_000
    queue.conn.execute("UPDATE pgqueue.dead_letters SET died_at = died_at - interval '8 days'")
    runs = 1
    while run(queue, monkeypatch) == 0.0:
        runs += 1
    assert queue.value("SELECT count(*) FROM pgqueue.dead_letters") == 0
    assert runs <= 16_000 // pruner.BATCH + 1
