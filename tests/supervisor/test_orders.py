"""Worker processes of the command line obey orders; one that was stopped is not replaced."""

import json
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.processes import alive
from tests.support.project import Project, wait_until_dead, worker_pids

APP = """
import time, pathlib, os, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)

@pgqueue.actor(max_retries=0)
def wait(path):
    print("waiting in", os.getpid(), flush=True)
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    print("waited in", os.getpid(), flush=True)
"""


@pytest.mark.slow
def test_a_stopped_process_ends_its_messages_and_is_not_replaced_and_the_last_ends_the_program(
    project: Project, database_url: str
) -> None:
    project.write("app.py", APP)
    environment: dict[str, str | None] = {"PGQUEUE_URL": database_url}
    program = project.start_workers("-t", "1", processes=2, env=environment)
    send = project.start_python("-c", "import app; app.wait.send('go'); app.broker.close()", env=environment)
    assert send.wait() == 0, send.output
    busy = int(program.wait_for("waiting in ").split("waiting in ")[1].split()[0])
    (idle,) = set(worker_pids(program)) - {busy}

    def order(*words: str) -> Any:
        code, output = project.run("workers", *words, "--json", env=environment)
        assert code == 0, output
        return json.loads(output)

    host = order()["workers"][0]["host"]
    order("stop", f"{host}:{busy}")
    program.wait_for("An operator has ordered this process to stop.")
    assert alive(busy)
    project.write("go", "")
    program.wait_for("has stopped as ordered and is not replaced; 1 left.")
    wait_until_dead(busy)
    assert program.output.count("waited in") == 1

    def one_is_left() -> None:
        assert [each["pid"] for each in order()["workers"]] == [idle]

    eventually(one_is_left, within_s=30.0)
    order("stop", "--all")
    assert program.wait() == 0, program.output
    assert "All worker processes were ordered to stop: stopping." in program.output
    assert len(worker_pids(program)) == 2
