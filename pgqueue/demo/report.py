"""What came of the demo: figures, and the check that each page was counted exactly once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..storage.outcomes import Tally
from .pages import Page
from .program import Counted

__all__ = ["Evidence", "Report", "Run", "make_report", "problems"]

#: How many of the largest files are shown.
LARGEST = 5

#: How many pages a complaint names.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Run:
    """The course of events, in figures.

    Parameters:
      seconds: From the first request to the last ack.
      seconds_before_kill: From the first request to the kill.
      done_before_kill: Messages acknowledged by then.
      killed: The killed process.
    """

    seconds: float
    seconds_before_kill: float
    done_before_kill: int
    killed: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the messages have left behind.

    Parameters:
      results: By the address of the page; None where there is none.
      tally: The database's record of ends.
      callbacks: How often the web server was told that all is done.
    """

    results: Mapping[str, Counted | None]
    tally: Tally
    callbacks: int


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of the demo.

    Parameters:
      files: Different files; fewer than messages, if some were served several times.
      rate: Messages a second over the whole run, the wait for the killed process's messages included.
      rate_before_kill: The same while nothing had happened yet.
      retries: Messages sent again because the web server was busy.
      rerun: Messages that had been running in the killed process.
      largest: Name, bytes and words.
      problems: What the check has found; empty if each page was counted exactly once.
    """

    messages: int
    files: int
    words: int
    seconds: float
    rate: float
    rate_before_kill: float
    retries: int
    killed_process: int
    rerun: int
    largest: tuple[tuple[str, int, int], ...]
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether each page was counted exactly once."""
        return not self.problems


def make_report(pages: Sequence[Page], run: Run, evidence: Evidence) -> Report:
    """Draw up the figures and the check."""
    results = [result for result in evidence.results.values() if result is not None]
    files = {page.path: page for page in pages}
    largest = sorted(files.values(), key=lambda page: (-page.words, page.name))[:LARGEST]
    return Report(
        messages=len(pages),
        files=len(files),
        words=sum(result["words"] for result in results),
        seconds=run.seconds,
        rate=_rate(len(pages), run.seconds),
        rate_before_kill=_rate(run.done_before_kill, run.seconds_before_kill),
        retries=sum(result["retries"] for result in results),
        killed_process=run.killed,
        rerun=evidence.tally.rerun,
        largest=tuple((page.name, page.size, page.words) for page in largest),
        problems=tuple(problems(pages, evidence)),
    )


def problems(pages: Sequence[Page], evidence: Evidence) -> list[str]:
    """Compare what the messages have left with a count of our own; return what doesn't agree."""
    found = []
    results, tally = evidence.results, evidence.tally
    missing = [page.name for page in pages if results.get(page.address) is None]
    if missing:
        found.append(f"{len(missing)} pages have no result: {_some(missing)}")
    strangers = sorted(results.keys() - {page.address for page in pages})
    if strangers:
        found.append(f"{len(strangers)} results belong to no page: {_some(strangers)}")
    wrong = [
        page.name for page in pages if (result := results.get(page.address)) and result["words"] != page.words
    ]
    if wrong:
        found.append(f"{len(wrong)} pages were counted wrongly: {_some(wrong)}")
    if tally.messages != len(pages):
        found.append(f"{tally.messages} messages have ended, and {len(pages)} were sent")
    if tally.outcomes != tally.messages:
        found.append(f"{tally.messages} messages have ended {tally.outcomes} times")
    if tally.failed:
        found.append(f"{tally.failed} messages went to the dead letters")
    if evidence.callbacks != 1:
        found.append(f"the completion callback ran {evidence.callbacks} times")
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")


def _rate(messages: int, seconds: float) -> float:
    return messages / seconds if seconds > 0 else 0.0
