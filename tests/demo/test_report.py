"""The check at the end of the demo: it must see each way in which "exactly once" can fail."""

from dataclasses import replace
from pathlib import Path

import pytest

from pgqueue.demo.pages import Page
from pgqueue.demo.program import Counted
from pgqueue.demo.report import Evidence, Run, make_report, problems
from pgqueue.storage.outcomes import Tally

PAGES = [
    Page("/one.py", "one.py", Path("/lib/one.py"), words=10, size=100),
    Page("/two.py", "two.py", Path("/lib/two.py"), words=20, size=200),
    Page("/one.py?copy=1", "one.py", Path("/lib/one.py"), words=10, size=100),
]
RUN = Run(seconds=2.0, seconds_before_kill=0.5, done_before_kill=1, killed=4711)
SOUND = Evidence(
    results={
        "/one.py": {"words": 10, "retries": 0},
        "/two.py": {"words": 20, "retries": 2},
        "/one.py?copy=1": {"words": 10, "retries": 1},
    },
    tally=Tally(outcomes=3, messages=3, failed=0, rerun=1),
    callbacks=1,
)


def with_result(address: str, result: Counted | None) -> Evidence:
    return replace(SOUND, results={**SOUND.results, address: result})


def test_figures_come_from_results_and_the_database() -> None:
    report = make_report(PAGES, RUN, SOUND)
    assert report.holds
    assert (report.messages, report.files, report.words) == (3, 2, 40)
    assert (report.retries, report.rerun, report.killed_process) == (3, 1, 4711)
    assert (report.rate, report.rate_before_kill) == (1.5, 2.0)
    assert report.largest == (("two.py", 200, 20), ("one.py", 100, 10))


def test_a_run_without_duration_has_no_rate() -> None:
    run = replace(RUN, seconds=0.0)
    assert make_report(PAGES, run, SOUND).rate == 0.0


@pytest.mark.parametrize(
    ("evidence", "complaint"),
    [
        (with_result("/two.py", None), "1 pages have no result: two.py"),
        (with_result("/two.py", {"words": 21, "retries": 0}), "1 pages were counted wrongly: two.py"),
        (with_result("/else", {"words": 1, "retries": 0}), "1 results belong to no page: /else"),
        (replace(SOUND, tally=Tally(2, 2, 0, 0)), "2 messages have ended, and 3 were sent"),
        (replace(SOUND, tally=Tally(4, 3, 0, 0)), "3 messages have ended 4 times"),
        (replace(SOUND, tally=Tally(3, 3, 1, 0)), "1 messages went to the dead letters"),
        (replace(SOUND, callbacks=0), "the completion callback ran 0 times"),
        (replace(SOUND, callbacks=2), "the completion callback ran 2 times"),
    ],
)
def test_whatever_was_not_counted_exactly_once_is_named(evidence: Evidence, complaint: str) -> None:
    assert problems(PAGES, evidence) == [complaint]
    assert not make_report(PAGES, RUN, evidence).holds


def test_a_complaint_names_a_few_pages_only() -> None:
    pages = [replace(PAGES[0], address=f"/{number}", name=f"{number}.py") for number in range(9)]
    evidence = replace(SOUND, results={}, tally=Tally(9, 9, 0, 0))
    assert problems(pages, evidence) == ["9 pages have no result: 0.py, 1.py, 2.py, …"]
