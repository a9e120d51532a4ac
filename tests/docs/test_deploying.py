"""The page on deploying says what is so: its unit for systemd can be read, and its commands are ours."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from pgqueue.cli import make_argument_parser

from .pages import blocks_of, page

(UNIT,) = (block.text for block in blocks_of(page("deploying.md"), "Running workers", "ini"))

(RIGHTS,) = (block.text for block in blocks_of(page("deploying.md"), "Schemas and roles", "sql"))

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


def test_rights_that_were_too_many_are_taken_away(database_url: str) -> None:
    asked = (
        "SELECT has_sequence_privilege('my_sender', 'pgqueue.open_slot', 'USAGE'),"
        " has_sequence_privilege('my_sender', 'pgqueue.open_slot', 'SELECT'),"
        " has_sequence_privilege('my_sender', 'pgqueue.message_seq', 'USAGE'),"
        " has_table_privilege('my_worker', 'pgqueue.alembic_version', 'UPDATE'),"
        " has_table_privilege('my_worker', 'pgqueue.messages', 'UPDATE')"
    )
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE my_sender; CREATE ROLE my_worker")
        try:
            conn.execute("GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA pgqueue TO my_sender")
            conn.execute("GRANT ALL ON ALL TABLES IN SCHEMA pgqueue TO my_worker")
            assert conn.execute(asked).fetchone() == (True, True, True, True, True)
            conn.execute(RIGHTS.encode())
            assert conn.execute(asked).fetchone() == (False, True, True, False, True)
        finally:
            conn.execute("DROP OWNED BY my_sender, my_worker; DROP ROLE my_sender, my_worker")
