"""What a figure says of itself, and how rounds are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from benchmarks.figures import Figure, Target, at_most, interleaved, percentile

DRAIN = Figure("drain.1", "drain", 30_000, "1/s", 60_000, "bare loop", Target(reach=0.5, aim=0.8))
PICKUP = Figure("pickup.p50", "commit to start", 1.5, "ms", 0.5, "bare LISTEN", at_most(2.0, 0.8))


@pytest.mark.parametrize(("value", "verdict"), [(48_000, "aim"), (30_000, "reach"), (29_999, "missed")])
def test_a_ratio_is_compared_with_reach_and_aim(value: float, verdict: str) -> None:
    assert replace(DRAIN, value=value).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(0.8, "aim"), (2.0, "reach"), (2.1, "missed")])
def test_where_less_is_better_the_value_must_not_be_more(value: float, verdict: str) -> None:
    assert replace(PICKUP, value=value).verdict == verdict


def test_without_a_target_a_figure_is_only_watched() -> None:
    assert replace(DRAIN, target=Target()).verdict == "watched"


def test_the_median_of_ratios_goes_before_the_ratio_of_medians() -> None:
    assert DRAIN.to_reference == 0.5
    assert replace(DRAIN, ratio=0.9).to_reference == 0.9
    assert DRAIN.asdict()["ratio"] == 0.5


def test_rounds_alternate_who_comes_first() -> None:
    order: list[str] = []

    def ours() -> float:
        order.append("ours")
        return 1.0

    def reference() -> float:
        order.append("reference")
        return 2.0

    assert interleaved(3, ours, reference) == (1.0, 2.0, 0.5)
    assert order == ["reference", "ours", "ours", "reference", "reference", "ours"]


@given(st.lists(st.integers(), min_size=1), st.integers(0, 99))
def test_a_percentile_is_one_of_the_sample_with_no_more_than_its_share_below(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)

    assert found in values
    assert sum(value < found for value in values) <= len(values) * percent / 100
