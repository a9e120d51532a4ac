"""``pgqueue dev``: server, schema and workers in one command."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.project import Project, wait_for_workers

APP = """
import pgqueue
from pgqueue.brokers.postgres import PostgresBroker

broker = PostgresBroker()
pgqueue.set_broker(broker)

@pgqueue.actor
def add(a, b):
    print("the sum is", a + b)

add.send(1, 2)
"""


@pytest.mark.slow
def test_it_starts_everything_and_leaves_nothing(project: Project, tmp_path: Path) -> None:
    project.write("app.py", APP)
    program = project.start("dev", "app", "--url", f"embedded:{tmp_path}/server")
    wait_for_workers(program, 1)
    program.wait_for("the sum is 3")
    program.wait_for("Watching '.' for changes.")
    project.write("app.py", APP.replace("add.send(1, 2)", "add.send(20, 22)"))
    program.wait_for("the sum is 42")
    assert program.output.count("Schema 'pgqueue' is at") == 1
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait() == 0
    assert "again" not in program.output


@pytest.mark.slow
def test_a_signal_to_the_command_alone_stops_the_workers(project: Project, empty_database_url: str) -> None:
    project.write("app.py", APP)
    program = project.start("dev", "app", "--no-watch", "--url", empty_database_url)
    program.wait_for("the sum is 3")
    program.send(signal.SIGTERM)
    assert program.wait() == 0
    assert "Worker process has stopped." in program.output


def test_a_wrong_module_ends_it_with_code_two(project: Project, empty_database_url: str) -> None:
    code, output = project.run("dev", "nosuch", "--url", empty_database_url)
    assert code == 2
    assert "There is no module 'nosuch'." in output
