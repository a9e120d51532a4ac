"""What becomes of the messages of processes that died under their supervisor."""

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pgqueue.engine.board import Board, dead_boards
from pgqueue.maintenance.reaper import GRACE_S
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop, worker_pids

APP = """
import ctypes, os, resource, signal, threading, time, psycopg, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)

@pgqueue.actor(max_retries=0)
def note(word):
    print("ran", word, flush=True)

@pgqueue.actor(max_retries=0)
def poison():
    print("poisoned", os.getpid(), flush=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)  # as an extension with a fault

@pgqueue.actor(max_retries=0)
def leave(code):
    os._exit(code)

@pgqueue.actor(max_retries=0)
def outlast():
    print("outlasting", flush=True)
    with psycopg.connect(os.environ["PGQUEUE_URL"], autocommit=True) as conn:
        while conn.execute("SELECT to_regclass('go_on')").fetchone() == (None,):
            time.sleep(0.01)

@pgqueue.actor(max_retries=0, transactional=True)
def hold(path):
    conn = pgqueue.current_transaction().connection
    conn.execute("UPDATE stock SET number = number - 1")
    if not os.path.exists(path):
        open(path, "w").close()
        print("holding", os.getpid(), flush=True)
        conn.execute("SELECT pg_sleep(60)")

@pgqueue.actor(max_retries=0)
def die_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        print("dying at", time.monotonic(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    print("back at", time.monotonic(), flush=True)
"""

SEND = """
import sys; sys.path.insert(0, ".")
import app
messages = [app.note.message(n) for n in range(5)]
messages += [eval(sys.argv[1])]
messages += [app.note.message(n) for n in range(5, 30)]
app.broker.enqueue_many(messages)
"""


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    made = Project(tmp_path, programs)
    made.write("app.py", APP)
    return made


def send(project: Project, url: str, message: str) -> None:
    """Send a message between thirty harmless ones."""
    with Process(["-c", SEND, message], env={"PGQUEUE_URL": url}, cwd=project.directory, warm=True) as sender:
        assert sender.wait() == 0, sender.output


def make_stock(url: str) -> None:
    """What ``hold`` takes one from."""
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE stock AS SELECT 7 AS number")


def outcomes(url: str, actor_name: str) -> list[tuple[str, int]]:
    """The status and attempts of every message of an actor that has ended."""
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT status::text, attempts FROM pgqueue.outcomes WHERE actor_name = %s", (actor_name,)
        )
        return rows.fetchall()


@pytest.mark.slow
def test_a_poison_message_kills_three_processes_and_charges_nobody_else(
    project: Project, database_url: str
) -> None:
    send(project, database_url, "app.poison.message()")
    program = project.start_workers("-t", "4", processes=2, env={"PGQUEUE_URL": database_url})

    def look() -> None:
        assert outcomes(database_url, "poison") == [("f", 3)], program.output

    eventually(look, within_s=15.0)
    with psycopg.connect(database_url) as conn:
        ((reason, attempts, error),) = conn.execute(
            "SELECT reason, attempts, error FROM pgqueue.dead_letters"
        ).fetchall()
    assert (reason, attempts) == ("poison", 3)
    assert "SIGSEGV" in error
    assert program.output.count("poisoned") == 3
    assert program.output.count("ended in this thread") == 3
    assert "in poison" in program.output

    def all_ran() -> None:
        ended = outcomes(database_url, "note")
        assert len(ended) == 30

    eventually(all_ran, within_s=5.0)
    assert {attempts for _, attempts in outcomes(database_url, "note")} == {0}, program.output
    assert stop(program) == 0


@pytest.mark.slow
@pytest.mark.parametrize("code", [7, 0])
def test_a_dead_letter_names_the_exit_status_and_whoever_ran_beside_it_is_not_charged(
    project: Project, database_url: str, code: int
) -> None:
    send(project, database_url, "app.outlast.message()")
    program = project.start_workers("-t", "2", processes=1, env={"PGQUEUE_URL": database_url})
    program.wait_for("outlasting")
    send(project, database_url, f"app.leave.message({code})")

    def look() -> str:
        with psycopg.connect(database_url) as conn:
            rows = conn.execute("SELECT error FROM pgqueue.dead_letters").fetchall()
        assert len(rows) == 1, program.output
        return str(rows[0][0])

    assert eventually(look, within_s=20.0).endswith(f"which exited with code {code}")
    assert outcomes(database_url, "leave") == [("f", 3)]
    with psycopg.connect(database_url) as conn:
        conn.execute("CREATE TABLE go_on ()")

    def all_ran() -> None:
        assert len(outcomes(database_url, "note")) == 60, program.output

    eventually(all_ran)
    assert eventually(partial(ended, database_url, "outlast")) == [("d", 0)], program.output
    assert {attempts for _, attempts in outcomes(database_url, "note")} == {0}, program.output
    assert program.output.count("outlasting") > 1, program.output
    assert stop(program) == 0


def ended(url: str, actor_name: str) -> list[tuple[str, int]]:
    """The outcomes of an actor, once there are any."""
    found = outcomes(url, actor_name)
    assert found
    return found


@pytest.mark.slow
def test_messages_of_a_killed_process_run_again_before_it_would_count_as_lost(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    program = project.start_workers("-t", "2", processes=2, env={"PGQUEUE_URL": database_url})
    send(project, database_url, f"app.die_once.message({str(tmp_path / 'died')!r})")
    output = program.wait_for("back at")
    times = [float(line.split()[-1]) for line in output.splitlines() if " at " in line and line[0] in "db"]
    died, back = times
    assert back - died < GRACE_S
    assert stop(program) == 0


@pytest.mark.slow
def test_a_statement_that_a_killed_process_has_left_holds_up_nobody(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    """The server goes on with it for its minute, with the locks of its transaction."""
    make_stock(database_url)
    program = project.start_workers("-t", "2", processes=2, env={"PGQUEUE_URL": database_url})
    send(project, database_url, f"app.hold.message({str(tmp_path / 'held')!r})")
    held = program.wait_for("holding")
    os.kill(int(held.split("holding")[1].split()[0]), signal.SIGKILL)

    assert eventually(partial(ended, database_url, "hold"), within_s=15.0) == [("d", 1)], program.output
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT number FROM stock").fetchone() == (6,)
    assert stop(program) == 0


@pytest.mark.slow
def test_a_statement_that_outlasts_a_stop_holds_up_nobody(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    """Neither who has given the message back, nor who runs it elsewhere."""
    make_stock(database_url)
    env: dict[str, str | None] = {"PGQUEUE_URL": database_url}
    program = project.start_workers("-t", "2", "--worker-shutdown-timeout", "500", processes=1, env=env)
    send(project, database_url, f"app.hold.message({str(tmp_path / 'held')!r})")
    program.wait_for("holding")
    other = project.start_workers(processes=1, env=env)
    program.send(signal.SIGTERM)

    ((how, _),) = eventually(partial(ended, database_url, "hold"), within_s=15.0)
    assert how == "d", (program.output, other.output)
    program.wait()
    assert stop(other) == 0


@pytest.mark.slow
def test_a_process_is_replaced_also_where_somebody_has_removed_all_boards(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    """As those do who clean up temporary files of long ago."""
    (tmp_path / "temporary").mkdir()
    env: dict[str, str | None] = {"PGQUEUE_URL": database_url, "TMPDIR": str(tmp_path / "temporary")}
    program = project.start_workers(processes=1, env=env)
    (boards,) = (tmp_path / "temporary").glob("pgqueue-*")
    shutil.rmtree(boards)
    os.kill(worker_pids(program)[0], signal.SIGKILL)
    program.wait_for("restarting it")
    send(project, database_url, "app.note.message('after it')")
    program.wait_for("ran after it")
    assert stop(program) == 0


@pytest.mark.slow
def test_a_process_that_ended_well_leaves_no_board(project: Project, database_url: str) -> None:
    program = project.start_workers(processes=2, env={"PGQUEUE_URL": database_url})
    os.kill(worker_pids(program)[0], signal.SIGTERM)
    program.wait_for("exited with code 0; restarting it")
    with psycopg.connect(database_url) as conn:
        leftover = conn.execute("SELECT count(*) FROM pgqueue.leases").fetchone()
    assert leftover == (0,)
    assert stop(program) == 0


def test_a_bequeathed_board_tells_who_ran_what_and_how_it_ended(tmp_path: Path) -> None:
    board = Board.create(tmp_path / "board-1", 3)
    board.note(2, 4711)
    board.bequeath(board.path.parent, code=-9)
    board.close()
    ((path, noted),) = dead_boards(tmp_path)
    assert path == tmp_path / "board-1.dead"
    assert (noted.running, noted.end) == ([4711], "was killed by SIGKILL")
