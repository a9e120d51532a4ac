"""Rates and percentiles: exact while there is little, near enough from a sample of a lot, at the same cost."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgqueue.operations import pace
from pgqueue.storage import outcomes
from tests.support.crowd import crowd
from tests.support.plans import buffers, explained, nodes
from tests.support.queue import Queue


def test_nothing_has_ended(queue: Queue) -> None:
    measured = pace.measure(queue.database, window_s=900, buckets=30)
    assert (measured.exact, measured.ended, measured.total("done")) == (True, {}, [0.0] * 30)
    assert measured.rate("done", last=2) == 0
    assert pace.times(queue.database, window_s=900).rows == []


def test_little_is_counted_exactly(queue: Queue) -> None:
    crowd(queue, ended=1_000, ended_within_s=300)
    measured = pace.measure(queue.database, window_s=600, buckets=10)
    assert measured.exact
    assert sum(measured.total("done")) == 980
    assert sum(measured.total("failed", "bulk")) == 20
    assert sum(measured.total("failed", "other")) == 0
    assert sum(measured.total("done")[:4]) == 0
    assert measured.rate("done", "bulk", last=10) == pytest.approx(980 / 600)
    times = pace.times(queue.database, window_s=600)
    assert times.scale == 1
    of_queue = times.of_queue("bulk")
    assert of_queue is not None
    assert (of_queue.count, of_queue.failed) == (1_000, 20)
    assert of_queue.run_ms == pytest.approx([49.5, 94.05, 98.01], abs=1)
    assert len(times.of_actors) == 20
    assert sum(row.count for row in times.of_actors) == 1_000


def test_a_lot_is_estimated_from_a_sample(queue: Queue) -> None:
    crowd(queue, ended=40_000, ended_within_s=600)
    measured = pace.measure(queue.database, window_s=600, buckets=10)
    assert not measured.exact
    assert sum(measured.total("done")) == pytest.approx(39_200, rel=0.03)
    assert sum(measured.total("failed")) == pytest.approx(800, rel=0.3)
    assert measured.total("done")[1:-1] == pytest.approx([3_920] * 8, rel=0.1)
    times = pace.times(queue.database, window_s=600)
    of_queue = times.of_queue("bulk")
    assert of_queue is not None
    assert of_queue.count * times.scale == pytest.approx(40_000, rel=0.03)
    assert of_queue.wait_ms == pytest.approx([500, 950, 990], rel=0.05)


def test_a_short_span_of_a_lot_is_found_without_reading_the_rest(queue: Queue) -> None:
    crowd(queue, ended=20_000, ended_within_s=2_000)
    measured = pace.measure(queue.database, window_s=100, buckets=10)
    assert measured.exact
    # Ten a second, less what the clock has moved on by since.
    assert 700 <= sum(measured.total("done")) <= 1_000


def test_older_windows_count_where_the_span_reaches_them(queue: Queue) -> None:
    crowd(queue, ended=300, ended_within_s=10_800)
    assert sum(pace.measure(queue.database, window_s=14_400, buckets=10).total("done")) == 294
    assert sum(pace.measure(queue.database, window_s=3_600, buckets=10).total("done")) == pytest.approx(
        98, abs=3
    )
    assert len(pace.times(queue.database, window_s=14_400).rows) == 21


def test_a_sample_reads_its_blocks_and_no_others(queue: Queue) -> None:
    crowd(queue, ended=20_000, ended_within_s=1)
    slice_ = queue.value("SELECT min(slice) FROM pgqueue.outcomes")
    conn = queue.connect(enable_seqscan="off")
    rows, plan = explained(
        conn,
        lambda: outcomes.pace(
            conn, queue.statements, slice_=slice_, blocks=[0, 40, 80], since_s=0, width_s=60
        ),
    )
    assert {row.block for row in rows} == {0, 40, 80}
    assert "Tid Range Scan" in {node["Node Type"] for node in nodes(plan)}
    assert buffers(plan) < 20


@given(begin=st.floats(0, 599), length=st.floats(0, 700), buckets=st.integers(1, 60))
def test_shares_of_a_span_add_up(begin: float, length: float, buckets: int) -> None:
    shares = list(pace._shares(begin, min(begin + length, 600.0), 600 / buckets, buckets))
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert all(0 <= bucket < buckets and share >= -1e-9 for bucket, share in shares)
