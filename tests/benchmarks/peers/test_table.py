from __future__ import annotations

import io

from rich.console import Console

from benchmarks.peers.scenarios import Outcome
from benchmarks.peers.table import HEADINGS, cells, markdown, show

QUICK = Outcome(
    "quick",
    "Quick",
    version="quick 1.0",
    server="PostgreSQL 18",
    python="3.12.1",
    settings="defaults",
    durability="fsync on",
    messages=20_000,
    send=1_500.4,
    send_many=30_000.0,
    drain=10_000.0,
    held=9_000.0,
    held_ratio=0.9,
    rounds=3,
    latency_p50_ms=1.25,
    latency_p99_ms=12.0,
    recovery_s=4.04,
    waited_s=60.0,
    checks={"drain": "each once", "held": "each once"},
)
WRONG = Outcome(
    "wrong",
    "Wrong",
    drain=5.0,
    waited_s=60.0,
    checks={"drain": "3 ran more than once"},
    notes=["recovery: 2 of 8 had not run 60 s after the kill"],
)
SKIPPED = Outcome("gone", "Gone", skipped="its server was not found [apt-get install gone]")


def test_a_row_has_a_cell_for_each_heading() -> None:
    row = cells(QUICK)
    assert len(row) == len(HEADINGS)
    assert row == ["Quick", "10,000/s", "1,500/s", "30,000/s", "1.2 ms", "12.0 ms", "0.90 x", "4.0 s", "yes"]


def test_what_was_not_measured_is_empty_and_what_did_not_come_back_has_its_bound() -> None:
    assert cells(WRONG) == ["Wrong", "5/s", "", "", "", "", "", "> 60 s", "no"]


def test_both_tables_tell_what_is_wrong_and_who_was_skipped_and_why() -> None:
    out = io.StringIO()
    show([QUICK, WRONG, SKIPPED], Console(file=out, width=200))
    for text in (out.getvalue(), markdown([QUICK, WRONG, SKIPPED])):
        assert "quick 1.0, Python 3.12.1, PostgreSQL 18; 20,000 messages x 3; defaults. Fsync on." in text
        assert "drain: 3 ran more than once" in text
        assert "2 of 8 had not run 60 s after the kill" in text
        assert "its server was not found [apt-get install gone]" in text


def test_markdown_has_a_row_for_each_that_was_measured() -> None:
    lines = markdown([QUICK, WRONG, SKIPPED]).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| Quick", "| Wrong"]


def test_programs_get_the_ratio_and_the_verdict() -> None:
    assert QUICK.asdict()["held_ratio"] == 0.9
    assert (QUICK.asdict()["exactly_once"], WRONG.asdict()["exactly_once"]) == (True, False)
