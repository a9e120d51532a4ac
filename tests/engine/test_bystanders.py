"""Who is charged for crashes of which another is guilty than it looks, and without the files of the supervisor."""

import os
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from pgqueue.maintenance.reaper import GRACE_S
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop, worker_pids

APP = """
import os, resource, signal, sys, threading, time, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
threads = []

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)

@pgqueue.actor(max_retries=0)
def innocent():
    threads.append(threading.get_ident())
    time.sleep(60)

@pgqueue.actor(max_retries=0)
def evil():
    while not threads:
        time.sleep(0.01)
    print("evil", flush=True)
    signal.pthread_kill(threads[0], signal.SIGSEGV)  # the fault shows in another's thread
    time.sleep(60)

@pgqueue.actor(max_retries=0)
def leave_once(path):
    if not os.path.exists(path + ".left"):
        print("waiting", flush=True)
        wait_for(path + ".go")
        open(path + ".left", "w").close()
        os._exit(7)

@pgqueue.actor(max_retries=0)
def outlast(path):
    wait_for(path + ".left")
    time.sleep(0.1)

@pgqueue.actor(max_retries=0)
def fork_and_die(path):
    if not os.path.exists(path):
        open(path, "w").close()
        if (child := os.fork()) == 0:  # as multiprocessing does; it keeps all connections open
            time.sleep(300)
        print("forked", child, "dying at", time.monotonic(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    print("back at", time.monotonic(), flush=True)

if __name__ == "__main__":
    broker.enqueue_many([getattr(pgqueue.get_broker().get_actor(name), "message")(*sys.argv[2:])
                         for name in sys.argv[1].split(",")])
"""


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    made = Project(tmp_path, programs)
    made.write("app.py", APP)
    return made


def send(project: Project, url: str, names: str, *arguments: str) -> None:
    """Send a message to each of some actors."""
    words = ["app.py", names, *arguments]
    with Process(words, env={"PGQUEUE_URL": url}, cwd=project.directory) as sender:
        assert sender.wait() == 0, sender.output


def times(program: Process, text: str, number: int) -> None:
    """Wait until a program has printed this so many times."""

    def look() -> None:
        assert program.output.count(text) >= number, program.output

    eventually(look, within_s=30.0)


@pytest.mark.slow
def test_who_brings_down_others_is_charged_in_the_end(project: Project, database_url: str) -> None:
    send(project, database_url, "evil,innocent,innocent,innocent")
    program = project.start_workers("-t", "2", processes=1, env={"PGQUEUE_URL": database_url})
    times(program, "evil", 5)
    with psycopg.connect(database_url) as conn:
        (charged,) = conn.execute(
            "SELECT max(attempts) FROM pgqueue.messages WHERE actor_name = 'evil'"
        ).fetchall()
    assert charged[0] >= 1, program.output
    program.send(signal.SIGQUIT)


@pytest.mark.slow
def test_the_connections_of_a_dead_process_hold_up_nobody_though_its_fork_has_them(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    program = project.start_workers("-t", "2", processes=1, env={"PGQUEUE_URL": database_url})
    send(project, database_url, "fork_and_die", str(tmp_path / "died"))
    output = program.wait_for("back at", within_s=GRACE_S * 2)
    fork = int(output.split("forked ")[1].split()[0])
    try:
        died, back = (
            float(line.split()[-1]) for line in output.splitlines() if " at " in line and line[0] in "fb"
        )
        assert back - died < GRACE_S
    finally:
        os.kill(fork, signal.SIGKILL)
    assert stop(program) == 0


@pytest.mark.slow
def test_who_ran_beside_a_crash_is_not_charged_where_somebody_has_removed_all_boards(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    env: dict[str, str | None] = {"PGQUEUE_URL": database_url, "TMPDIR": str(tmp_path / "temporary")}
    program = project.start_workers("-t", "2", processes=1, env=env)
    send(project, database_url, "leave_once,outlast", str(tmp_path / "it"))
    program.wait_for("waiting")
    (boards,) = (tmp_path / "temporary").glob("pgqueue-*")
    shutil.rmtree(boards)
    (tmp_path / "it.go").touch()

    def outcomes() -> dict[str, int]:
        with psycopg.connect(database_url) as conn:
            found = conn.execute("SELECT actor_name, attempts FROM pgqueue.outcomes").fetchall()
        assert len(found) == 2, program.output
        return dict(found)

    assert eventually(outcomes, within_s=15.0) == {"leave_once": 1, "outlast": 0}, program.output
    assert "Somebody has removed" in program.output
    assert "in leave_once" in program.output
    assert stop(program) == 0


@pytest.mark.slow
def test_nothing_is_written_through_links_of_somebody_else(project: Project, tmp_path: Path) -> None:
    project.write("app.py", "import pgqueue\npgqueue.set_broker(pgqueue.brokers.stub.StubBroker())\n")
    (tmp_path / "temporary").mkdir()
    program = project.start_workers(processes=1, env={"TMPDIR": str(tmp_path / "temporary")})
    (boards,) = (tmp_path / "temporary").glob("pgqueue-*")
    shutil.rmtree(boards)
    (tmp_path / "precious").write_text("precious")
    boards.mkdir(mode=0o755)
    for number in range(5):
        (boards / f"board-{number}").symlink_to(tmp_path / "precious")
    first = worker_pids(program)
    os.kill(first[0], signal.SIGKILL)
    times(program, "is ready for action", 2)
    assert (tmp_path / "precious").read_text() == "precious"
    assert "takes its place" in program.output
    assert stop(program) == 0
