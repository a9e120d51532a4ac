"""The page on deploying says what is so: its unit for systemd can be read, and its commands are ours."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from pgqueue.cli import make_argument_parser

from .pages import blocks_of, page

(UNIT,) = (block.text for block in blocks_of(page("deploying.md"), "Running workers", "ini"))

ANALYZE = shutil.which("systemd-analyze")


def unit() -> configparser.ConfigParser:
    read = configparser.ConfigParser(interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign] # names are told apart by case
    read.read_string(UNIT)
    return read


def test_the_unit_runs_workers_and_outlasts_what_they_finish() -> None:
    service = unit()["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert Path(program).is_absolute()
    assert Path(program).name == "pgqueue"
    arguments = make_argument_parser().parse_intermixed_args(words)
    minutes = re.fullmatch(r"(\d+)min", service["TimeoutStopSec"])
    assert minutes
    assert int(minutes[1]) * 60_000 > arguments.worker_shutdown_timeout
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["Environment"].startswith("PGQUEUE_URL=postgresql://")
    assert service["Restart"] == "on-failure"


@pytest.mark.skipif(ANALYZE is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "app-workers.service"
    # Programs and users that are not there are found, too.
    path.write_text(
        re.sub(r"(?<=^ExecStart=)\S+", "/bin/true", UNIT, flags=re.MULTILINE).replace("User=app\n", "")
    )
    done = subprocess.run([str(ANALYZE), "verify", str(path)], capture_output=True, text=True, check=False)
    assert "app-workers.service" not in done.stderr
