"""Processes that have done their work end, whatever their program has left behind in them."""

import multiprocessing
import re
import signal
import time

import psycopg
import pytest

from pgqueue.supervisor.departure import what_is_left
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop, wait_for_workers, wait_until_dead, worker_pids

HEAD = """
import multiprocessing, os, signal, sys, threading, time, pgqueue
from concurrent.futures import ProcessPoolExecutor
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.supervisor import departure, lingering
lingering.LINGER_S, departure.ALARM_S = 2.0, 4
departure.CHILDREN_S = departure.DAEMONS_S = 0.5
broker = PostgresBroker()
pgqueue.set_broker(broker)
context = multiprocessing.get_context("fork")

@pgqueue.actor(max_retries=0)
def note(number):
    print("ran", number, "in", os.getpid(), flush=True)

def poll():
    while True:
        time.sleep(0.05)

def serve(hear=True):
    if not hear:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("CHILD", os.getpid(), flush=True)
    poll()
"""

#: As ``pgqueue app``; the main process has the module's patience, too.
MAIN = """
import sys
from pgqueue.supervisor import lingering
lingering.LINGER_S = 2.0
from pgqueue.cli import main
if __name__ == "__main__":
    sys.exit(main(["app", "-p", "1", "-t", "1", *sys.argv[1:]]))
"""

THREAD = """
threading.Thread(target=poll, name="flags").start()

@pgqueue.actor(max_retries=0)
def begin():
    pass
"""

IDLE_EXECUTOR = """
POOL = ProcessPoolExecutor(1, mp_context=context)

def identify():
    print("CHILD", os.getpid(), flush=True)

@pgqueue.actor(max_retries=0)
def begin():
    POOL.submit(identify).result()
"""

BUSY_EXECUTOR = """
POOL = ProcessPoolExecutor(1, mp_context=context)

@pgqueue.actor(max_retries=0)
def begin():
    POOL.submit(serve)
"""

MANAGER = """
@pgqueue.actor(max_retries=0)
def begin():
    global manager
    manager = context.Manager()
    print("CHILD", manager._process.pid, flush=True)
"""

#: What it does at SIGTERM takes longer than a child that is no daemon has from there on.
TIDY_CHILD = """
departure.CHILDREN_S, departure.CHILD_KILL_AFTER_S = 1.5, 0.1

def tidy_up(*_):
    time.sleep(0.5)
    print("has tidied up", flush=True)
    os._exit(0)

def work():
    signal.signal(signal.SIGTERM, tidy_up)
    serve()

@pgqueue.actor(max_retries=0)
def begin():
    context.Process(target=work, daemon=True).start()
"""

CHILD = """
@pgqueue.actor(max_retries=0)
def begin():
    context.Process(target=serve, name="server").start()
"""

DEAF_CHILD = """
@pgqueue.actor(max_retries=0)
def begin():
    context.Process(target=serve, args=(False,), daemon=True).start()
"""

POOL = """
@pgqueue.actor(max_retries=0)
def begin():
    global pool
    pool = context.Pool(1)
    pool.apply_async(serve)
"""


def start(project: Project, source: str, url: str, *words: str) -> Process:
    project.write("app.py", HEAD + source)
    project.write("main.py", MAIN)
    program = project.start_python("main.py", *words, env={"PGQUEUE_URL": url})
    wait_for_workers(program, 1)
    return program


def send(project: Project, url: str, messages: str) -> None:
    source = f"from app import *; broker.enqueue_many([{messages}]); broker.close(); os._exit(0)"
    with Process(["-c", source], env={"PGQUEUE_URL": url}, cwd=project.directory, warm=True) as sender:
        assert sender.wait() == 0, sender.output


def children(program: Process) -> list[int]:
    return [int(pid) for pid in re.findall(r"CHILD (\d+)", program.output)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            THREAD,
            r"has done its work and does not end, for Python waits in it for thread 'flags'\. Killing it\.",
        ),
        (BUSY_EXECUTOR, "This process ends, and with it its children that have not ended"),
        (IDLE_EXECUTOR, None),
        (MANAGER, None),
        (CHILD, r"its children that have not ended in 0 s: 'server' \(PID \d+\)\."),
        (DEAF_CHILD, None),
        (TIDY_CHILD, "has tidied up"),
        (POOL, None),
    ],
    ids=[
        "thread",
        "busy executor",
        "idle executor",
        "manager",
        "child",
        "deaf child",
        "tidy child",
        "pool",
    ],
)
def test_a_process_that_retires_is_replaced_whatever_it_has_started(
    project: Project, database_url: str, source: str, told: str | None
) -> None:
    program = start(project, source, database_url, "--max-messages-per-process", "10")
    send(project, database_url, "begin.message(), *map(note.message, range(20))")

    def all_ran() -> None:
        assert program.output.count("ran ") == 20, program.output

    eventually(all_ran, within_s=30.0)
    wait_until_dead(worker_pids(program)[0])
    assert program.output.count("has run 10 messages and is replaced.") >= 1
    if told is not None:
        assert re.search(told, program.output), program.output
    assert ("have not ended" in program.output) is ("have not ended" in (told or "")), program.output
    assert "restarting it" not in program.output
    assert bool(children(program)) is ("Killing it" not in program.output), program.output
    for pid in children(program):
        wait_until_dead(pid)
    with psycopg.connect(database_url) as conn:
        attempts = conn.execute("SELECT DISTINCT attempts FROM pgqueue.outcomes").fetchall()
    assert attempts == [(0,)]
    assert stop(program) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words"),
    [(THREAD, ()), (BUSY_EXECUTOR, ()), (THREAD, ("--use-spawn",))],
    ids=["thread", "executor", "spawned"],
)
def test_a_stop_does_not_wait_for_it_either(
    project: Project, database_url: str, source: str, words: tuple[str, ...]
) -> None:
    program = start(project, source, database_url, *words)
    send(project, database_url, "begin.message(), note.message(1)")
    program.wait_for("ran 1 in")
    program.send(signal.SIGTERM)
    assert program.wait(timeout_s=10.0) == 0, program.output


def test_a_manager_that_python_ends_by_itself_is_not_what_it_waits_for() -> None:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=time.sleep, args=(30,), name="sleeper")
    child.start()
    with context.Manager():
        left = what_is_left()
    child.kill()
    child.join()
    assert "'sleeper'" in left
    assert "Manager" not in left


@pytest.mark.slow
def test_an_orphan_ends_too(project: Project, database_url: str) -> None:
    program = start(project, THREAD, database_url)
    send(project, database_url, "begin.message(), note.message(1)")
    program.wait_for("ran 1 in")
    (worker,) = worker_pids(program)
    program.send(signal.SIGKILL)
    wait_until_dead(worker)


@pytest.mark.slow
def test_an_exit_function_that_does_not_end_is_given_up(project: Project, database_url: str) -> None:
    source = "from multiprocessing.util import Finalize\nFinalize(None, poll, exitpriority=50)\n"
    program = start(project, source, database_url)
    assert stop(program) == 0
    assert "for Python waits in it for an exit function (atexit), or code in C. Killing it." in program.output


FUNCTIONS = """
def forks():
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    time.sleep(3.0)
    print("outlived it", flush=True)
    poll()

def goes_on():
    time.sleep(3.0)
    print("outlived it", flush=True)
    poll()

def returns():
    threading.Thread(target=goes_on, name="server").start()

def works():
    threading.Thread(target=goes_on, name="server").start()
    poll()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("function", "told"), [("forks", ""), ("returns", ""), ("works", "thread 'server'")])
def test_a_function_in_a_process_of_its_own_goes_on_until_it_is_told_to_stop(
    project: Project, database_url: str, function: str, told: str
) -> None:
    program = start(project, FUNCTIONS, database_url, "--fork-function", f"app:{function}")
    program.wait_for("outlived it")
    assert "Killing it" not in program.output
    program.send(signal.SIGTERM)
    assert program.wait(timeout_s=10.0) == 0, program.output
    assert ("Killing it" in program.output) is bool(told), program.output
    assert told in program.output
