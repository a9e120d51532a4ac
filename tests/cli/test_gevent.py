"""``pgqueue-gevent``: workers whose threads are greenlets, on the stub broker and on PostgreSQL."""

import os
import re
import signal
import textwrap
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import STUB, Project, stop, wait_for_workers, worker_pids

pytestmark = pytest.mark.slow

Environment = dict[str, str | None]

#: What gevent is about: actors that wait.
ACTORS = """
import time
from pgqueue.middleware import Shutdown, TimeLimitExceeded

at_once = most = 0

@pgqueue.actor
def nap(number):
    global at_once, most
    at_once += 1
    most = max(most, at_once)
    time.sleep(0.2)
    at_once -= 1
    print(f"nap {number} is over, {most} at once")

@pgqueue.actor(time_limit=200, max_retries=0)
def oversleep():
    try:
        time.sleep(30)
    except TimeLimitExceeded:
        print("was woken")
        raise

@pgqueue.actor(notify_shutdown=True, max_retries=0)
def watch():
    print("is watching")
    try:
        time.sleep(30)
    except Shutdown:
        print("was told of the shutdown")
        raise
"""

ON_POSTGRES = """
import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.middleware import AsyncIO, CurrentMessage
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend
broker = PostgresBroker()
broker.add_middleware(Results(backend=PostgresBackend(broker=broker)))
broker.add_middleware(AsyncIO())
broker.add_middleware(CurrentMessage())
pgqueue.set_broker(broker)
"""

MORE_ACTORS = """
import asyncio, os, pathlib

@pgqueue.actor(max_retries=1, min_backoff=10)
def block():
    print(f"blocking in process {os.getpid()}")
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    print("went on")

@pgqueue.actor(store_results=True)
def double(number):
    time.sleep(0.05)
    return 2 * number

@pgqueue.actor(store_results=True, max_retries=2, min_backoff=10)
def third_time():
    if CurrentMessage.get_current_message().options.get("retries", 0) < 2:
        raise RuntimeError("not yet")
    return "lucky"

@pgqueue.actor(store_results=True)
async def pause(seconds):
    await asyncio.sleep(seconds)
    return "paused"
"""


@pytest.fixture
def project(tmp_path: Path, programs: list[Process]) -> Project:
    """A project whose programs start afresh: gevent must come before all that it changes."""
    return Project(tmp_path, programs, warm=False)


@pytest.fixture
def on_postgres(project: Project, database_url: str) -> Environment:
    """A project on a database, and the variables that lead it there."""
    project.write("app.py", ON_POSTGRES + ACTORS + MORE_ACTORS)
    return {"PGQUEUE_URL": database_url}


def start(project: Project, *words: str, env: Environment | None = None) -> Process:
    return project.start_python("-m", "pgqueue_gevent", *words, env=env)


def start_workers(
    project: Project, *words: str, processes: int = 1, env: Environment | None = None
) -> Process:
    program = start(project, "app", "-p", str(processes), *words, env=env)
    wait_for_workers(program, processes)
    return program


def sends(project: Project, source: str) -> None:
    """Write an ``app`` on the stub broker that sends messages as its worker begins."""
    project.write("app.py", textwrap.dedent(STUB) + ACTORS + source)


def shown(project: Project, source: str, env: Environment) -> str:
    """Run a program of threads beside the greenlets; return what it prints."""
    with Process(["-c", f"import app; {source}"], env=env, cwd=project.directory) as program:
        assert program.wait() == 0, program.output
        return program.output


def customised(project: Project, source: str) -> Environment:
    """Make every interpreter of the project begin with ``source``."""
    project.write("sitecustomize.py", source)
    return {"PYTHONPATH": os.pathsep.join([str(project.directory), str(Path.cwd())])}


class TestStarting:
    def test_without_gevent_the_way_out_is_named(self, project: Project) -> None:
        project.stub()
        env = customised(project, "import sys; sys.modules['gevent'] = None")
        program = start(project, "app", env=env)
        assert program.wait() == 1
        assert program.output == (
            "pgqueue-gevent: gevent is not installed. Run: pip install 'pgqueue-engine[gevent]'\n"
        )

    def test_a_free_threaded_build_is_warned_of(self, project: Project) -> None:
        source = """
        import sysconfig
        known = sysconfig.get_config_var
        sysconfig.get_config_var = lambda name: 1 if name == "Py_GIL_DISABLED" else known(name)
        """
        program = start(project, "--version", env=customised(project, source))
        assert program.wait() == 0
        assert "RuntimeWarning: gevent needs the interpreter's lock" in program.output

    def test_it_has_the_commands_and_arguments_of_the_other(self, project: Project) -> None:
        program = start(project, "migrate", "--help")
        assert program.wait() == 0
        assert "--url" in program.output

    @pytest.mark.parametrize("words", [(), ("--use-spawn",)])
    def test_everything_is_patched_before_the_program_is_imported(
        self, project: Project, words: tuple[str, ...]
    ) -> None:
        source = """
        import os, socket, threading
        from gevent import monkey, socket as greens
        assert socket.socket is greens.socket
        assert monkey.is_module_patched("threading")
        print("is patched")
        """
        project.stub(source)
        program = start_workers(project, *words)
        program.wait_for("is patched")
        assert stop(program) == 0


class TestOnTheStub:
    def test_messages_wait_at_the_same_time(self, project: Project) -> None:
        sends(project, "for number in range(40): nap.send(number)")
        program = start_workers(project, "-t", "40")
        program.wait_for("nap 39 is over")
        assert max(map(int, re.findall(r"(\d+) at once", program.output))) > 20
        assert stop(program) == 0
        assert "Traceback" not in program.output

    def test_delayed_ones_come_when_they_are_due(self, project: Project) -> None:
        sends(project, "nap.send_with_options(args=(1,), delay=300)")
        program = start_workers(project)
        program.wait_for("nap 1 is over")
        assert stop(program) == 0

    def test_one_that_runs_for_too_long_is_interrupted_while_it_waits(self, project: Project) -> None:
        sends(project, "oversleep.send()\nfor number in range(9): nap.send(number)")
        program = start_workers(project)
        program.wait_for("was woken", within_s=5)
        program.wait_for("nap 8 is over")
        assert stop(program) == 0
        assert "was woken" in program.output

    def test_a_running_one_is_told_of_the_shutdown(self, project: Project) -> None:
        sends(project, "watch.send()")
        program = start_workers(project)
        program.wait_for("is watching")
        assert stop(program) == 0
        assert "was told of the shutdown" in program.output

    def test_a_worker_that_was_killed_is_replaced(self, project: Project) -> None:
        sends(project, "print('imported')")
        program = start_workers(project)
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        wait_for_workers(program, 2)
        assert stop(program) == 0


class TestOnPostgres:
    def test_each_message_is_run_once_by_greenlets_of_two_processes(
        self, project: Project, on_postgres: Environment
    ) -> None:
        program = start_workers(project, "-t", "50", processes=2, env=on_postgres)
        shown(project, "[app.nap.send(number) for number in range(200)]", on_postgres)

        def look() -> None:
            assert program.output.count("is over") >= 200

        eventually(look, within_s=15)
        assert stop(program) == 0
        numbers = [int(number) for number in re.findall(r"nap (\d+) is over", program.output)]
        assert sorted(numbers) == list(range(200))
        assert "Traceback" not in program.output

    def test_results_retries_delays_and_coroutines(self, project: Project, on_postgres: Environment) -> None:
        program = start_workers(project, env=on_postgres)
        source = (
            "sent = [app.double.send(4), app.third_time.send(), app.pause.send(0.1), "
            "app.double.send_with_options(args=(5,), delay=200)]; "
            "print([one.get_result(block=True, timeout=15000) for one in sent])"
        )
        assert "[8, 'lucky', 'paused', 10]" in shown(project, source, on_postgres)
        assert stop(program) == 0

    def test_a_result_that_a_greenlet_waits_for_holds_up_no_other(
        self, project: Project, on_postgres: Environment
    ) -> None:
        path = project.directory / "app.py"
        path.write_text(
            path.read_text() + "\n@pgqueue.actor\ndef ask(number):\n"
            "    print('answer', double.send(number).get_result(block=True, timeout=10_000))\n"
        )
        program = start_workers(project, "-t", "10", env=on_postgres)
        shown(project, "[app.ask.send(number) for number in range(5)]", on_postgres)
        program.wait_for("answer 8")
        assert stop(program) == 0

    def test_a_message_of_a_killed_process_runs_elsewhere(
        self, project: Project, on_postgres: Environment
    ) -> None:
        program = start_workers(project, processes=2, env=on_postgres)
        shown(project, "app.block.send()", on_postgres)
        found = re.search(r"blocking in process (\d+)", program.wait_for("blocking in process"))
        assert found is not None
        os.kill(int(found[1]), signal.SIGKILL)

        def look() -> None:
            assert program.output.count("blocking in process") == 2

        eventually(look, within_s=20)
        project.write("go", "")
        program.wait_for("went on")
        assert stop(program) == 0

    def test_time_limits_and_shutdowns_reach_waiting_actors(
        self, project: Project, on_postgres: Environment
    ) -> None:
        program = start_workers(project, env=on_postgres)
        shown(project, "app.oversleep.send(); app.watch.send()", on_postgres)
        program.wait_for("was woken", within_s=5)
        program.wait_for("is watching")
        assert stop(program) == 0
        assert "was told of the shutdown" in program.output


class TestInterrupting:
    """Programs that patch by themselves, and look at what `raise_thread_exception` does to greenlets."""

    BEGINNING = "from gevent import monkey; monkey.patch_all()\n"

    def run(self, project: Project, source: str) -> str:
        project.write("program.py", self.BEGINNING + textwrap.dedent(source))
        program = project.start_python("program.py")
        assert program.wait() == 0, program.output
        return program.output

    def test_a_greenlet_without_a_shield_is_found(self, project: Project) -> None:
        source = """
        import threading, time
        from pgqueue.threading import Interrupt, raise_thread_exception

        def wait():
            try:
                time.sleep(30)
            except Interrupt:
                print("interrupted")

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0)
        raise_thread_exception(thread.ident, Interrupt)
        thread.join(5)
        raise_thread_exception(12345, Interrupt)
        """
        output = self.run(project, source)
        assert "interrupted" in output
        assert "Failed to set exception (Interrupt) in thread 12345." in output

    def test_an_interrupt_that_comes_after_the_actor_is_kept(self, project: Project) -> None:
        """The greenlet was about to go on when the interrupt was raised: it gets its turn first."""
        source = """
        import threading, time
        from pgqueue.threading import Interrupt, InterruptShield, raise_thread_exception

        def work():
            shield = InterruptShield()
            shield.lower()
            go_on.wait()
            shield.raise_()
            time.sleep(0.01)
            print("acknowledged")
            try:
                shield.lower()
            except Interrupt:
                print("then interrupted")

        go_on = threading.Event()
        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0)
        go_on.set()
        raise_thread_exception(thread.ident, Interrupt)
        thread.join(5)
        """
        assert self.run(project, source).split("\n")[:2] == ["acknowledged", "then interrupted"]

    def test_a_worker_may_run_beside_its_program(self, project: Project) -> None:
        source = """
        import pgqueue
        from pgqueue.brokers.stub import StubBroker
        broker = StubBroker()
        pgqueue.set_broker(broker)

        @pgqueue.actor
        def note(number):
            print("noted", number)

        worker = pgqueue.Worker(broker, worker_timeout=100)
        worker.start()
        note.send(1)
        note.send_with_options(args=(2,), delay=50)
        broker.join("default", timeout=5000)
        worker.join()
        worker.stop()
        """
        assert sorted(self.run(project, source).split("\n")) == ["", "noted 1", "noted 2"]
