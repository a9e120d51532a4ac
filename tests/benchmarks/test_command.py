"""The benchmarks as a whole, with as little as they can measure: that each runs and answers, not how fast.

`make test` runs one of them, `make drills` all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.command import MEASUREMENTS, setting
from tests.support.processes import ROOT, Process


def test_a_word_that_is_no_measurement_is_refused_with_those_that_are() -> None:
    with Process(["-m", "pgqueue", "bench", "swiftness"], cwd=ROOT, warm=True) as program:
        assert program.wait() == 2
        assert "There is no measurement 'swiftness': expected overhead, drain," in program.output


@pytest.mark.parametrize("name", ["v0.0.0-never", "nothing.whl"])
def test_a_release_that_is_nowhere_is_refused_by_name(name: str, database_url: str) -> None:
    words = ["-m", "benchmarks", "against", "--against", name, "--url", database_url]
    with Process(words, cwd=ROOT, warm=True) as program:
        assert program.wait() == 2
        assert name in program.output
        assert "Traceback" not in program.output


def test_a_setting_has_a_name_and_a_value() -> None:
    assert setting("synchronous_commit=off") == ("synchronous_commit", "off")
    for wrong in ("synchronous_commit", "=off", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE"):
            setting(wrong)


#: What every run of the tests can afford; most of the others start many workers or wait, and take 10 s each.
QUICK = "overhead"

#: `against` needs an earlier release: test_releases.py.
NAMES = [name for name in MEASUREMENTS if name != "against"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == QUICK else pytest.mark.long) for name in NAMES]
)
def test_each_measurement_answers_with_figures_and_references(
    name: str, database_url: str, tmp_path: Path
) -> None:
    page, out = tmp_path / "report.html", tmp_path / "out.json"
    words = [
        "bench",
        name,
        "--url",
        database_url,
        "--scale",
        "0.004",
        "--rounds",
        "1",
        "--json",
        "--page",
        str(page),
    ]
    source = f"""
        import contextlib, sys
        from pgqueue.cli import main

        if __name__ == "__main__":
            with open({str(out)!r}, "w") as file, contextlib.redirect_stdout(file):
                code = main({words!r})
            sys.exit(code)
    """
    with Process.script(source) as program:
        assert program.wait(timeout_s=240) == 0, program.output

    figures = json.loads(out.read_text())["figures"]
    assert figures
    for figure in figures:
        assert figure["reference"] > 0
        assert figure["against"]
        assert figure["verdict"] in {"aim", "reach", "missed", "watched"}
    assert page.read_text().startswith("<!doctype html>")
