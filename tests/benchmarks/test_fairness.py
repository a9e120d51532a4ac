"""What is measured beside a flood counts only if that has lasted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.fairness import goes_on


def test_a_flood_that_has_ended_is_none() -> None:
    flood = subprocess.Popen([sys.executable, "-c", "input(); raise SystemExit(3)"], stdin=subprocess.PIPE)
    goes_on(flood)
    flood.communicate(b"\n")
    with pytest.raises(RuntimeError, match=r"ended with exit code 3 before .* see BATCHES"):
        goes_on(flood)
