"""Processes that have done enough are replaced between two messages."""

import re
import signal

import psycopg
import pytest

from pgqueue.supervisor.retirement import Retirement, resident_mb
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop, wait_for_workers, worker_pids

APP = """
import os, pathlib, time, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)
kept = []

@pgqueue.actor(max_retries=0)
def note(number):
    print("ran", number, "in", os.getpid(), flush=True)

@pgqueue.actor(max_retries=0, notify_shutdown=True, priority=-1)
def wait(path):
    print("waiting in", os.getpid(), flush=True)
    while not pathlib.Path(path).exists():
        time.sleep(0.01)
    print("waited in", os.getpid(), flush=True)

@pgqueue.actor(max_retries=0)
def keep(megabytes):
    kept.append(os.urandom(1024 * 1024) * megabytes)
"""


@pytest.fixture
def environment(project: Project, database_url: str) -> dict[str, str | None]:
    project.write("app.py", APP)
    return {"PGQUEUE_URL": database_url}


def send(project: Project, environment: dict[str, str | None], source: str) -> None:
    with Process(
        ["-c", f"import app; {source}; app.broker.close()"], env=environment, cwd=project.directory, warm=True
    ) as sender:
        assert sender.wait() == 0, sender.output


def runs(output: str) -> dict[int, int]:
    """In which process each number was run; fails if one was run twice."""
    found = [(int(number), int(pid)) for number, pid in re.findall(r"ran (\d+) in (\d+)", output)]
    assert len(dict(found)) == len(found), output
    return dict(found)


@pytest.mark.slow
def test_after_so_many_messages_and_none_runs_twice(
    project: Project, environment: dict[str, str | None], database_url: str
) -> None:
    send(project, environment, "app.broker.enqueue_many([app.note.message(n) for n in range(25)])")
    program = project.start_workers("-t", "1", "--max-messages-per-process", "10", env=environment)

    def all_ran() -> None:
        assert len(runs(program.output)) == 25

    eventually(all_ran, within_s=20.0)
    wait_for_workers(program, 3)
    in_order = [pid for _, pid in sorted(runs(program.output).items())]
    first, second, third = worker_pids(program)[:3]
    assert in_order == [first] * 10 + [second] * 10 + [third] * 5
    assert program.output.count("has run 10 messages and is replaced.") == 2
    assert "restarting it" not in program.output
    assert stop(program) == 0
    with psycopg.connect(database_url) as conn:
        attempts = conn.execute("SELECT DISTINCT attempts FROM pgqueue.outcomes").fetchall()
    assert attempts == [(0,)]


@pytest.mark.slow
def test_nothing_is_interrupted_and_what_was_fetched_runs_elsewhere_meanwhile(
    project: Project, environment: dict[str, str | None]
) -> None:
    send(
        project,
        environment,
        "app.broker.enqueue_many([app.wait.message('go'), *map(app.note.message, range(20))])",
    )
    program = project.start_workers("-t", "2", env={**environment, "pgqueue_max_messages_per_process": "1"})
    program.wait_for("waiting in")
    # Nothing but the second program can run the rest, while the first still waits for its message.
    second = project.start_workers("-t", "1", env=environment)

    def all_ran() -> None:
        assert len(runs(program.output + second.output)) == 20

    eventually(all_ran, within_s=20.0)
    assert len(runs(second.output)) >= 17
    assert "waited in" not in program.output
    project.write("go", "")
    output = program.wait_for("is replaced")
    assert output.count("waiting in") == output.count("waited in") == 1
    assert "Shutdown" not in output
    assert [stop(program), stop(second)] == [0, 0]


@pytest.mark.slow
def test_with_so_much_memory(project: Project, environment: dict[str, str | None]) -> None:
    program = project.start_workers("-t", "1", "--max-memory-per-process", "200", env=environment)
    send(project, environment, "app.keep.send(1); app.keep.send(300)")
    output = program.wait_for("is replaced")
    found = re.search(r"holds (\d+) MB of memory after 2 messages and is replaced\.", output)
    assert found is not None
    assert int(found[1]) > 300
    wait_for_workers(program, 2)
    assert stop(program) == 0


@pytest.mark.slow
def test_a_stop_does_not_wait_for_the_last_message_of_a_process_that_retires(
    project: Project, environment: dict[str, str | None]
) -> None:
    send(project, environment, "app.broker.enqueue_many([app.wait.message('go'), app.note.message(1)])")
    program = project.start_workers("-t", "2", "--max-messages-per-process", "1", env=environment)
    program.wait_for("ran 1 in")
    assert stop(program) == 0
    assert "waited in" not in program.output
    assert "Shutdown" in program.output


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_limit_that_is_none_is_refused(project: Project, value: str) -> None:
    project.stub()
    code, output = project.run("app", env={"pgqueue_max_memory_per_process": value})
    assert (code, len(output.splitlines())) == (2, 1), output
    assert "pgqueue_max_memory_per_process" in output
    code, output = project.run("app", "--max-messages-per-process", value)
    assert code == 2
    assert f"'{value}' is not a whole number above 0." in output


def test_it_is_due_once() -> None:
    due: list[str] = []
    memory = [10.0]
    retirement = Retirement(
        max_messages=3,
        max_memory_mb=50,
        on_due=lambda: due.append(retirement.reason),
        memory_mb=lambda: memory[0],
    )
    for _ in range(2):
        retirement._after_one()
    assert not retirement.due
    retirement._after_one()
    retirement._after_one()
    assert due == ["has run 3 messages"]


def test_memory_is_told_in_megabytes() -> None:
    before = resident_mb()
    held = b"x" * 64 * 1024 * 1024
    assert 40 < resident_mb() - before < 120
    del held


@pytest.mark.slow
def test_a_signal_in_a_process_that_has_no_limits_still_stops_it(
    project: Project, environment: dict[str, str | None]
) -> None:
    program = project.start_workers(env=environment)
    assert stop(program, signal.SIGTERM) == 0
    assert "is replaced" not in program.output
