"""Workers on a real database: what happens to messages, and what the user sees when the database fails."""

import os
import re
import signal
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.support.eventually import eventually
from tests.support.postgres import with_database
from tests.support.processes import Process
from tests.support.project import Project, stop, worker_pids

Environment = dict[str, str | None]

APP = """
import os, pathlib, time, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)

@pgqueue.actor
def note(number):
    with open("notes", "a") as notes:
        notes.write(f"{number}\\n")

@pgqueue.actor(max_retries=0)
def block(name):
    print(f"{name} runs in process {os.getpid()}")
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    note.send(name)
"""


@pytest.fixture
def environment(database_url: str, project: Project) -> Environment:
    """A project with the module above, and the variables that lead it to a database of its own."""
    project.write("app.py", APP)
    return {"PGQUEUE_URL": database_url}


def run_source(project: Project, source: str, environment: Environment) -> None:
    with Process(
        ["-c", f"import app; {source}"], env=environment, cwd=project.directory, warm=True
    ) as process:
        assert process.wait() == 0, process.output


def notes(project: Project) -> list[str]:
    path: Path = project.directory / "notes"
    return path.read_text().split() if path.exists() else []


class TestMessages:
    def test_each_is_run_once(self, project: Project, environment: Environment) -> None:
        program = project.start_workers(processes=2, env=environment)
        run_source(project, "[app.note.send(n) for n in range(50)]", environment)

        def look() -> None:
            assert len(notes(project)) == 50

        eventually(look, within_s=15.0)
        assert stop(program) == 0
        assert sorted(map(int, notes(project))) == list(range(50))

    @pytest.mark.slow
    def test_a_process_has_three_connections_whatever_they_are_called(
        self, project: Project, environment: Environment
    ) -> None:
        program = project.start_workers("-t", "8", processes=1, env=environment)
        run_source(project, "[app.note.send(n) for n in range(20)]", environment)

        def look() -> None:
            assert len(notes(project)) == 20

        eventually(look, within_s=15.0)
        with psycopg.connect(str(environment["PGQUEUE_URL"]), application_name="test") as conn:
            rows = conn.execute(
                "SELECT application_name FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name <> 'test' ORDER BY 1"
            ).fetchall()
        assert rows == [("pgqueue acker",), ("pgqueue fetcher",), ("pgqueue listener",)]
        assert stop(program) == 0

    @pytest.mark.slow
    def test_those_of_a_killed_process_run_elsewhere(
        self, project: Project, environment: Environment
    ) -> None:
        program = project.start_workers(processes=2, env=environment)
        run_source(project, "app.block.send('it')", environment)
        output = program.wait_for("it runs in process")
        found = re.search(r"it runs in process (\d+)", output)
        assert found is not None
        os.kill(int(found[1]), signal.SIGKILL)
        program.wait_for("was running 1 messages")

        def look() -> None:
            assert program.output.count("it runs in process") == 2

        eventually(look, within_s=20.0)
        project.write("go", "")

        def noted() -> None:
            assert notes(project) == ["it"]

        eventually(noted)
        assert stop(program) == 0

    def test_workers_are_replaced_until_told_to_stop(
        self, project: Project, environment: Environment
    ) -> None:
        program = project.start_workers(env=environment)
        run_source(project, "app.note.send(1)", environment)
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        run_source(project, "app.note.send(2)", environment)

        def look() -> None:
            assert sorted(notes(project)) == ["1", "2"]

        eventually(look, within_s=20.0)
        assert stop(program) == 0


class TestMistakes:
    def complaint(self, project: Project, url: str, expected_code: int) -> str:
        code, output = project.run("app", "-p", "2", env={"PGQUEUE_URL": url})
        assert code == expected_code, output
        assert "Traceback" not in output
        complaints = [line for line in output.splitlines() if "[CRITICAL]" in line]
        assert len(complaints) == 1, output
        return complaints[0]

    @pytest.mark.usefixtures("environment")
    def test_an_unreachable_server(self, project: Project) -> None:
        text = self.complaint(project, "postgresql://user:secret@127.0.0.1:1/db", 3)
        assert "127.0.0.1:1/db" in text
        assert "secret" not in text

    @pytest.mark.usefixtures("environment")
    def test_a_database_that_does_not_exist(self, project: Project, postgres_url: str) -> None:
        assert "nosuchdb" in self.complaint(project, with_database(postgres_url, "nosuchdb"), 3)

    @pytest.mark.usefixtures("environment")
    def test_a_database_without_the_schema(self, project: Project, empty_database_url: str) -> None:
        assert "Run `pgqueue migrate`" in self.complaint(project, empty_database_url, 2)

    @pytest.mark.usefixtures("environment")
    def test_something_that_is_no_url(self, project: Project) -> None:
        assert "expected postgresql://" in self.complaint(project, "mysql://user:secret@host/db", 2)

    @pytest.mark.usefixtures("environment")
    def test_a_role_without_rights(self, project: Project, database_url: str) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS pgqueue_stranger")
            connection.execute("CREATE ROLE pgqueue_stranger LOGIN PASSWORD 'secret'")
            try:
                url = make_conninfo(database_url, user="pgqueue_stranger", password="secret")
                assert "may not do this" in self.complaint(project, url, 2)
            finally:
                connection.execute("DROP ROLE pgqueue_stranger")
