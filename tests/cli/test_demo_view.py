"""How the demo looks on a terminal; the whole of it on one is among the long tests of `test_demo`."""

from __future__ import annotations

import re

from tests.support.processes import Process

SHOW = """
from rich.console import Console
from pgqueue.cli.demo_view import TerminalView, show_report
from pgqueue.demo import Report

console = Console(highlight=False)
assert console.is_terminal
with TerminalView(console) as view:
    view.doing("Creating the tables")
    view.done("The tables are there")
    for done in range(6):
        view.progress(done, 5, waiting=done == 4)
        view._bar.refresh()
    view.doing("Checking")
    view.stopping()
show_report(console, Report(
    messages=5, files=4, words=1234, seconds=2.0, rate=2.5, rate_before_kill=4.0, retries=3, killed_process=4711,
    rerun=1, largest=(("one.py", 12000, 900),), problems={problems},
))
"""

ON_A_TERMINAL = """
import os, pty, sys
status = pty.spawn([sys.executable, "-c", {shown!r}])
sys.exit(os.waitstatus_to_exitcode(status))
"""

#: What takes a line off a terminal.
ERASE_LINE = "\x1b[2K"


def shown(problems: tuple[str, ...] = ()) -> str:
    """What a terminal gets of a run of five messages, without how bold it is."""
    source = ON_A_TERMINAL.format(shown=SHOW.format(problems=problems))
    env = {"TERM": "xterm", "COLUMNS": "100", "LINES": "40", "NO_COLOR": "1"}
    with Process.script(source, env=env) as program:
        assert program.wait() == 0, program.output
        return re.sub(r"\x1b\[[\d;]*m", "", program.output)


def test_a_bar_grows_and_is_gone_when_the_table_comes() -> None:
    course, _, table = shown().rpartition(ERASE_LINE)
    assert "Creating the tables …" in course
    assert re.search(r"✓ The tables are there  0\.\d s", course)
    bars = re.findall(r"Counting words (━*) +([1-5])/5 0:00:0\d", course)
    lengths = {int(done): len(bar) for bar, done in bars}
    assert lengths.keys() == {1, 2, 3, 5}
    assert 0 < lengths[1] < lengths[2] < lengths[3] < lengths[5]
    assert re.search(r"Waiting until the killed process's messages are free ━+ +4/5", course)
    assert "Stopping, and removing everything …" in course + table
    assert "━" not in table
    assert re.search(r"^Words +1,234", table, re.MULTILINE)
    assert re.search(r"^Rerun after the kill +1  process 4711 was running them", table, re.MULTILINE)
    assert re.search(r"^one\.py +900 +12", table, re.MULTILINE)
    assert "✓ Every file was counted exactly once." in table


def test_a_check_that_fails_is_told_with_what_it_found() -> None:
    table = shown(("the completion callback ran 2 times",)).rpartition(ERASE_LINE)[2]
    assert "✗ Not every file was counted exactly once:" in table
    assert "the completion callback ran 2 times" in table
