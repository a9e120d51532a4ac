"""Time limits hold where Python can't interrupt: the process is replaced, and only the culprit is charged."""

import re

import psycopg
import pytest

from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop

APP = """
import ctypes, os, time, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import TimeLimit, default_middleware
middleware = [cls() for cls in default_middleware if cls is not TimeLimit]
broker = PostgresBroker(middleware=[*middleware, TimeLimit(interval=50, grace=200)])
pgqueue.set_broker(broker)

@pgqueue.actor(max_retries=0, priority=5)
def note(number):
    print("ran", number, flush=True)

@pgqueue.actor(max_retries=0, time_limit=200)
def wait():
    print("stuck", os.getpid(), flush=True)
    time.sleep(1000)  # hears of exceptions when it returns

@pgqueue.actor(max_retries=0, time_limit=200)
def hold():
    print("stuck", os.getpid(), flush=True)
    ctypes.PyDLL(None).sleep(1000)  # keeps the interpreter's lock

@pgqueue.actor(max_retries=0, time_limit=200)
def busy():
    while True:
        time.sleep(0.01)

@pgqueue.actor(max_retries=0)
def slow(path):
    print("slow starts", flush=True)
    time.sleep(1.5)
    print("slow ends", flush=True)

@pgqueue.actor(max_retries=0)
def outlast(path):
    print("outlast starts", flush=True)
    if not os.path.exists(path):
        open(path, "w").close()
        time.sleep(1000)  # the first time
"""

#: As ``pgqueue app -p 1 -t 2``, with less patience.
MAIN = """
import sys
from pgqueue.supervisor import overruns
overruns.LAST_WORDS_S = 1.0
from pgqueue.cli import main
sys.exit(main(["app", "-p", "1", "-t", "2"]))
"""


@pytest.fixture
def environment(project: Project, database_url: str) -> dict[str, str | None]:
    project.write("app.py", APP)
    return {"PGQUEUE_URL": database_url}


def send(project: Project, environment: dict[str, str | None], messages: str) -> None:
    source = f"from app import *; broker.enqueue_many([{messages}]); broker.close()"
    with Process(["-c", source], env=environment, cwd=project.directory, warm=True) as sender:
        assert sender.wait() == 0, sender.output


def outcomes(url: str) -> dict[tuple[str, str], list[int]]:
    """How often each message was charged, by actor and status."""
    found: dict[tuple[str, str], list[int]] = {}
    with psycopg.connect(url) as conn:
        for actor, status, attempts in conn.execute(
            "SELECT actor_name, status::text, attempts FROM pgqueue.outcomes"
        ):
            found.setdefault((actor, status), []).append(attempts)
    return found


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("actor", [pytest.param("wait", marks=pytest.mark.long), "hold"])
def test_a_message_that_is_stuck_in_c_takes_only_its_process_with_it(
    project: Project, environment: dict[str, str | None], database_url: str, actor: str
) -> None:
    send(project, environment, f"{actor}.message(), *map(note.message, range(30))")
    program = project.start_workers("-t", "1", processes=2, env=environment)

    def buried() -> None:
        assert outcomes(database_url).get((actor, "f")) == [3], program.output

    eventually(buried, within_s=40.0)

    def all_ran() -> None:
        assert outcomes(database_url).get(("note", "d")) == [0] * 30, program.output

    eventually(all_ran, within_s=10.0)
    with psycopg.connect(database_url) as conn:
        ((reason, error),) = conn.execute("SELECT reason, error FROM pgqueue.dead_letters").fetchall()
    assert reason == "poison"
    assert error.endswith("far beyond its time limit in code that can't be interrupted")
    assert "which was killed by SIGKILL" in error
    assert program.output.count("runs a message far beyond the time limit") == 3
    assert program.output.count("stuck") == 3
    assert stop(program) == 0


@pytest.mark.slow
def test_what_runs_beside_it_comes_to_its_end(
    project: Project, environment: dict[str, str | None], database_url: str
) -> None:
    send(project, environment, "slow.message('x'), wait.message()")
    program = project.start_workers("-t", "2", env=environment)

    def look() -> None:
        assert outcomes(database_url).get(("slow", "d")) == [0], program.output

    eventually(look, within_s=20.0)
    program.wait_for("was killed by SIGKILL, because a message was far beyond its time limit")
    assert program.output.count("slow starts") == program.output.count("slow ends") == 1
    program.close()


@pytest.mark.slow
def test_what_takes_too_long_beside_it_is_killed_with_it_and_runs_again_uncharged(
    project: Project, environment: dict[str, str | None], database_url: str
) -> None:
    project.write("main.py", MAIN)
    send(project, environment, "outlast.message('begun'), wait.message()")
    program = project.start_python("main.py", env=environment)

    def look() -> None:
        assert outcomes(database_url) == {("outlast", "d"): [0], ("wait", "f"): [3]}, program.output

    eventually(look, within_s=30.0)
    assert program.output.count("outlast starts") == 2
    assert program.output.count("runs a message far beyond the time limit") == 3
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT DISTINCT actor_name FROM pgqueue.attempts").fetchall() == [("wait",)]
    assert stop(program) == 0


@pytest.mark.slow
def test_what_can_be_interrupted_fails_by_itself(
    project: Project, environment: dict[str, str | None], database_url: str
) -> None:
    send(project, environment, "busy.message()")
    program = project.start_workers("-t", "1", env=environment)

    def look() -> None:
        assert outcomes(database_url).get(("busy", "f")) == [0], program.output

    eventually(look, within_s=20.0)
    assert "time limit, in code" not in program.output
    assert stop(program) == 0


@pytest.mark.slow
def test_a_stop_is_not_held_up_by_it(project: Project, environment: dict[str, str | None]) -> None:
    send(project, environment, "wait.message()")
    program = project.start_workers("-t", "1", env=environment)
    program.wait_for("stuck")
    assert stop(program) == 1
    assert re.search(r"killed by SIGKILL, because a message was far beyond its time limit", program.output)
