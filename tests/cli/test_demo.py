"""``pgqueue demo`` with real processes: what it shows, and that it leaves nothing behind however it ends."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.eventually import eventually
from tests.support.leftovers import processes_naming
from tests.support.postgres import Databases
from tests.support.processes import ROOT, Process, alive
from tests.support.project import Project

pytestmark = pytest.mark.slow

#: What takes a line off a terminal.
ERASE_LINE = "\x1b[2K"


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory for a demo's temporary files: nothing may be left in it, nor a process that names it."""
    # PostgreSQL, started by root, runs as another user, who must get in.
    directory = tmp_path_factory.mktemp("demo")
    yield directory
    assert list(directory.iterdir()) == []
    assert processes_naming(str(directory)) == {}


@pytest.fixture
def environment(scratch: Path) -> dict[str, str | None]:
    return {"TMPDIR": str(scratch), "NO_COLOR": "1", "COLUMNS": "100"}


@pytest.fixture
def url(empty_database_url: str) -> Iterator[str]:
    """A database in which no schema may be left."""
    yield empty_database_url
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        left = conn.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pgqueue%'").fetchall()

        def others_are_gone() -> None:
            others = conn.execute(
                "SELECT application_name FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchall()
            assert others == []

        eventually(others_are_gone)  # the server hears of a killed client a moment later
    assert left == []


def figure(output: str, name: str) -> int:
    """A number of the table."""
    found = re.search(rf"^{name}\s+([\d,]+)", output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


@pytest.mark.timeout(180)
class TestRun:
    def test_the_whole_demo_on_a_server_of_its_own(
        self, project: Project, environment: dict[str, str | None]
    ) -> None:
        demo = project.start("demo", "--messages", "150", env=environment)
        code, output = demo.wait(timeout_s=120), demo.output
        assert code == 0, output
        assert "A PostgreSQL server of the demo's own is running" in output
        assert "150 messages sent in one transaction, as a group with a callback" in output
        assert re.search(r"2 worker processes are running: \d+ and \d+", output)
        assert re.search(r"Process \d+ was killed in mid-run \(SIGKILL\)", output)
        assert "✓ Every file was counted exactly once." in output
        assert figure(output, "Files") == 150
        assert figure(output, "Retries") > 0
        assert figure(output, "Rerun after the kill") > 0

    @pytest.mark.parametrize("messages", [1, pytest.param(60, marks=pytest.mark.long)])
    def test_the_outcome_as_json_from_the_least_on_and_the_environments_database_is_left_alone(
        self, project: Project, environment: dict[str, str | None], url: str, tmp_path: Path, messages: int
    ) -> None:
        source = f"""
            import os, sys
            os.dup2(os.open({str(tmp_path / "course")!r}, os.O_WRONLY | os.O_CREAT), 2)
            from pgqueue.cli import main
            sys.exit(main(["demo", "--json", "--messages", "{messages}", "--url", {url!r}]))
        """
        others = {"PGQUEUE_URL": "postgresql://127.0.0.1:1/none", "PGQUEUE_SCHEMA": "else"}
        with Process.script(source, env={**environment, **others}, warm=True) as program:
            assert program.wait(timeout_s=120) == 0, (tmp_path / "course").read_text()
            outcome = json.loads(program.output)
        course = (tmp_path / "course").read_text()
        assert re.search(rf"{messages} messages? sent in one transaction", course), course
        assert outcome["exactly_once"] is True
        assert outcome["problems"] == []
        assert (outcome["messages"], outcome["files"]) == (messages, messages)
        assert outcome["words"] > 0
        assert outcome["rerun"] == 1 if messages == 1 else outcome["rerun"] > 0
        assert messages == 1 or outcome["retries"] > 0
        assert len(outcome["largest"]) == min(messages, 5)

    @pytest.mark.long
    def test_on_a_terminal_it_has_a_bar_that_is_gone_when_the_table_comes(
        self, project: Project, environment: dict[str, str | None], url: str
    ) -> None:
        source = f"""
            import os, pty, sys
            status = pty.spawn([sys.executable, "-m", "pgqueue", "demo", "--messages", "5", "--url", {url!r}])
            sys.exit(os.waitstatus_to_exitcode(status))
        """
        project.write("terminal.py", source)
        demo = project.start_python("terminal.py", env={**environment, "TERM": "xterm", "LINES": "40"})
        assert demo.wait(timeout_s=60) == 0, demo.output
        course, _, table = demo.output.partition(ERASE_LINE + "\r\nFiles")
        assert "✓ 5 messages sent in one transaction" in course
        assert re.search(r"Counting words .*━.* \d/5 0:00:0\d", course)
        assert "Creating the tables …" in course
        assert "✓ Every file was counted exactly once." in table
        assert "━" not in table


class TestInterruption:
    @pytest.mark.parametrize(
        ("moment", "sent"),
        [
            ("The tables are", signal.SIGHUP),
            ("messages sent", signal.SIGTERM),
            pytest.param("The tables are", signal.SIGINT, marks=pytest.mark.long),
            pytest.param("was killed", signal.SIGTERM, marks=pytest.mark.long),
        ],
    )
    def test_a_signal_leaves_nothing_behind(
        self,
        project: Project,
        environment: dict[str, str | None],
        url: str,
        sent: signal.Signals,
        moment: str,
    ) -> None:
        demo = project.start("demo", "--url", url, env=environment)
        demo.wait_for(moment, within_s=40)
        demo.send(sent)
        expected = 130 if sent is signal.SIGINT else 128 + sent
        assert demo.wait() == expected, demo.output
        assert "Stopping, and removing everything" in demo.output
        assert "Traceback" not in demo.output

    @pytest.mark.parametrize(
        ("moment", "to_group"),
        [
            ("Counting the words", True),
            ("Counting the words", False),
            pytest.param("was killed", True, marks=pytest.mark.long),
        ],
    )
    def test_ctrl_c_leaves_no_server_behind(
        self, project: Project, environment: dict[str, str | None], moment: str, to_group: bool
    ) -> None:
        demo = project.start("demo", env=environment)
        demo.wait_for(moment, within_s=40)
        if to_group:  # as a terminal does
            os.killpg(demo.pid, signal.SIGINT)
        else:
            demo.send(signal.SIGINT)
        assert demo.wait(timeout_s=40) == 130, demo.output
        assert "Traceback" not in demo.output

    def test_workers_end_even_if_the_demo_is_killed(
        self, project: Project, environment: dict[str, str | None], url: str, tmp_path: Path
    ) -> None:
        left = tmp_path / "left"
        left.mkdir()
        demo = project.start("demo", "--url", url, env={**environment, "TMPDIR": str(left)})
        output = demo.wait_for("worker processes are running", within_s=40)
        pids = [int(pid) for pid in re.findall(r"running: (\d+) and (\d+)", output)[0]]
        demo.kill()

        def ended() -> None:
            assert not any(alive(pid) for pid in pids)
            assert processes_naming(str(left)) == {}

        eventually(ended, within_s=30)
        with psycopg.connect(
            url, autocommit=True
        ) as conn:  # of itself, a killed demo can't remove its schema
            for (name,) in conn.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pgqueue%'"
            ).fetchall():
                conn.execute(f'DROP SCHEMA "{name}" CASCADE')


class TestMistakes:
    def test_a_number_of_messages_that_is_none(self, project: Project) -> None:
        code, output = project.run("demo", "--messages", "0")
        assert code == 2
        assert "'0' is not a whole number above 0." in output

    def test_a_server_that_is_not_there(self, project: Project, environment: dict[str, str | None]) -> None:
        url = "postgresql://someone:secret@127.0.0.1:1/db"
        code, output = project.run("demo", "--url", url, env=environment)
        assert code == 3
        assert "pgqueue: Can't use postgresql://someone:***@127.0.0.1:1/db" in output
        assert "Traceback" not in output
        assert "secret" not in output

    def test_a_role_that_may_not_create_a_schema(
        self, project: Project, environment: dict[str, str | None], databases: Databases, url: str
    ) -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE ROLE demo_guest LOGIN PASSWORD 'sesame'")
        try:
            guest = psycopg.conninfo.make_conninfo(url, user="demo_guest", password="sesame")
            code, output = project.run("demo", "--url", guest, env=environment)
        finally:
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute("DROP ROLE demo_guest")
        assert code == 2
        assert "the database role may not" in output
        assert "GRANT CREATE ON DATABASE" in output
        assert "sesame" not in output

    def test_workers_that_cannot_start_are_explained(
        self, project: Project, environment: dict[str, str | None], url: str
    ) -> None:
        """A module of the user's in the way of ours."""
        project.write(
            "sitecustomize.py", "import sys\nif 'worker' in sys.orig_argv: sys.exit('no workers today')"
        )
        broken = {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), str(project.directory)])}
        code, output = project.run("demo", "--url", url, env=broken)
        assert code == 2, output
        assert "The demo's workers have ended with code" in output
        assert "no workers today" in output
