"""What a measurement answers: figures, each with its reference and its target, and plots."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

__all__ = ["Figure", "Line", "Plot", "Report", "Target", "at_most", "interleaved", "percentile"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach.

    Parameters:
      reach: The least that is wanted; None for a figure that is only watched.
      aim: What would be good.
      of: ``ratio`` to the reference, or the ``value`` itself.
      more_is_better: Whether the target is a lower bound.
    """

    reach: float | None = None
    aim: float | None = None
    of: str = "ratio"
    more_is_better: bool = True


def at_most(reach: float, aim: float) -> Target:
    """A target for the value itself, where less is better."""
    return Target(reach, aim, of="value", more_is_better=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its reference.

    Parameters:
      name: Short, with dots; programs know it by this.
      reference: Measured in the same run, in the same unit.
      against: What the reference is.
      ratio: Value to reference; a median of rounds is better than the ratio of two medians.
    """

    name: str
    what: str
    value: float
    unit: str
    reference: float
    against: str
    target: Target = field(default_factory=Target)
    ratio: float | None = None

    @property
    def to_reference(self) -> float:
        """How many times the reference it is."""
        if self.ratio is not None:
            return self.ratio
        return self.value / self.reference if self.reference else float("inf")

    @property
    def verdict(self) -> str:
        """``aim``, ``reach`` or ``missed``; ``watched`` without a target."""
        target = self.target
        found = self.to_reference if target.of == "ratio" else self.value
        for name, bound in (("aim", target.aim), ("reach", target.reach)):
            if bound is not None and (found >= bound if target.more_is_better else found <= bound):
                return name
        return "watched" if target.reach is None else "missed"

    def asdict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "ratio": self.to_reference, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """How something behaves as something else grows."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log_x: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What one measurement found."""

    figures: list[Figure] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)


def interleaved(
    rounds: int, ours: Callable[[], float], reference: Callable[[], float]
) -> tuple[float, float, float]:
    """Measure in turns; return the medians of both, and of the ratios of neighbours.

    The reference comes first in even rounds and last in odd ones, so that what a machine does besides hits both alike.
    """
    mine, theirs = [], []
    for number in range(rounds):
        if number % 2:
            mine.append(ours())
            theirs.append(reference())
        else:
            theirs.append(reference())
            mine.append(ours())
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return statistics.median(mine), statistics.median(theirs), statistics.median(ratios)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which ``percent`` of the sample lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
