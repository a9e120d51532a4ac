"""A program of workers as a whole: real processes, real signals."""

import contextlib
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.project import Project, stop, wait_for_workers, wait_until_dead, worker_pids

#: An actor that tells when it starts and ends, and ends when the test says so; one message for each process.
BLOCKING_ACTOR = """
import pathlib, time

@pgqueue.actor(time_limit=60_000)
def block():
    print("the actor runs")
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    print("the actor is done")

block.send()
"""


#: A fork function that takes its time to clean up.
BESIDE = """
import pathlib, time

def run():
    try:
        print("it runs beside")
        time.sleep(60)
    finally:
        print("cleaning up")
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        print("cleaned up")
"""


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_one_signal_stops_gracefully(self, project: Project, number: signal.Signals) -> None:
        project.stub()
        program = project.start_workers(processes=2)
        assert stop(program, number) == 0
        assert program.output.count("Worker process has stopped.") == 2

    def test_running_messages_are_finished_first(self, project: Project) -> None:
        project.stub(BLOCKING_ACTOR)
        program = project.start_workers()
        program.wait_for("the actor runs")
        program.send(signal.SIGTERM)
        program.wait_for("Stopping worker process")
        project.write("go", "")
        assert program.wait() == 0
        assert "the actor is done" in program.output

    def test_a_second_signal_ends_at_once_with_code_one(self, project: Project) -> None:
        project.stub(BLOCKING_ACTOR)
        program = project.start_workers()
        program.wait_for("the actor runs")
        program.send(signal.SIGINT)
        program.wait_for("Stopping worker process")
        assert stop(program, signal.SIGTERM) == 1
        assert "the actor is done" not in program.output
        wait_until_dead(worker_pids(program)[0])

    def test_the_shutdown_timeout_bounds_the_wait(self, project: Project) -> None:
        project.stub(BLOCKING_ACTOR)
        program = project.start_workers("--worker-shutdown-timeout", "50")
        program.wait_for("the actor runs")
        assert stop(program) == 0

    def test_a_signal_to_the_whole_terminal_is_one_signal(self, project: Project) -> None:
        """Ctrl-C reaches workers too: they leave it to the main process."""
        project.stub()
        program = project.start_workers(processes=2)
        os.killpg(program.pid, signal.SIGINT)
        assert program.wait() == 0
        assert program.output.count("Worker process has stopped.") == 2

    def test_a_signal_that_comes_twice_at_once_is_one_signal(self, project: Project) -> None:
        """As from `timeout`, which signals the program and then the program's group."""
        project.stub()

        def look() -> None:
            program = project.start_workers()
            for _ in range(5):
                program.send(signal.SIGTERM)
            assert program.wait() == 0

        # Again, where the program was kept from running for a tenth of a second between two of them.
        eventually(look)

    def test_signals_until_the_last_moment_change_nothing_about_the_end(self, project: Project) -> None:
        """Python puts the signals' defaults back before the process is gone."""
        project.stub()
        program = project.start_workers()
        while program.running():
            program.send(signal.SIGTERM)
            time.sleep(0.001)
        assert program.wait() == 0, program.output

    def test_a_term_to_the_whole_group_cuts_nothing_short(self, project: Project) -> None:
        """As from systemd, `timeout` and `kill -- -PID`: each child gets one directly and one from the main process."""
        project.stub(BLOCKING_ACTOR)
        project.write("beside.py", BESIDE)
        program = project.start_workers("--fork", "beside:run")
        program.wait_for("the actor runs")
        program.wait_for("it runs beside")
        os.killpg(program.pid, signal.SIGTERM)
        program.wait_for("stopping gracefully")
        program.wait_for("Stopping worker process")
        program.wait_for("cleaning up")
        project.write("go", "")
        assert program.wait() == 0, program.output
        assert "the actor is done" in program.output
        assert "cleaned up" in program.output

    @pytest.mark.slow
    def test_a_worker_that_is_told_again_later_ends_at_once(self, project: Project) -> None:
        project.stub(BLOCKING_ACTOR)
        program = project.start_workers()
        program.wait_for("the actor runs")

        def tell() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker_pids(program)[0], signal.SIGTERM)
            assert "exited with code 1; restarting it" in program.output

        eventually(tell, within_s=15.0)

    def test_workers_stop_and_tidy_up_when_the_main_process_is_killed(
        self, project: Project, tmp_path: Path
    ) -> None:
        project.stub()
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        program = project.start_workers(processes=2, env={"TMPDIR": str(scratch)})
        program.kill()
        for pid in worker_pids(program):
            wait_until_dead(pid)
        assert list(scratch.iterdir()) == []

    def test_nothing_is_left_behind(self, project: Project, tmp_path: Path) -> None:
        project.stub()
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        program = project.start_workers(env={"TMPDIR": str(scratch)})
        assert len(list(scratch.iterdir())) == 1
        stop(program)
        assert list(scratch.iterdir()) == []


class TestDeaths:
    def test_a_killed_worker_is_replaced_and_the_others_go_on(self, project: Project) -> None:
        project.stub()
        program = project.start_workers(processes=2)
        victim, neighbour = worker_pids(program)
        os.kill(victim, signal.SIGKILL)
        program.wait_for("was killed by SIGKILL; restarting it in 0.1 s.")
        wait_for_workers(program, 3)
        assert stop(program) == 0
        assert program.output.count(f"[PID {neighbour}]") == 3  # ready, stopping, stopped

    def test_a_worker_that_ends_by_itself_is_replaced(self, project: Project) -> None:
        project.stub()
        program = project.start_workers()
        os.kill(worker_pids(program)[0], signal.SIGTERM)
        program.wait_for("exited with code 0; restarting it")
        wait_for_workers(program, 2)
        assert stop(program) == 0

    def test_one_that_dies_again_and_again_waits_longer_each_time(self, project: Project) -> None:
        project.stub("import signal; os.kill(os.getpid(), signal.SIGKILL)")
        program = project.start("app", "-p", "1")
        program.wait_for("restarting it in 0.8 s.")
        assert re.findall(r"restarting it in (\S+) s", program.output) == ["0.1", "0.2", "0.4", "0.8"]
        assert stop(program) == 0

    def test_what_a_dying_worker_wrote_comes_before_the_news_of_its_death(self, project: Project) -> None:
        project.stub("import signal; os.write(1, b'last words'); os.kill(os.getpid(), signal.SIGKILL)")
        program = project.start("app", "-p", "1")
        output = program.wait_for("was killed by")
        assert output.index("last words\n") < output.index("was killed by")

    def test_the_log_tells_how_many_messages_died_with_a_worker(self, project: Project) -> None:
        project.stub(
            """
            from pgqueue.engine.board import Board
            Board.assigned().note(0, 4711)
            """
        )
        program = project.start_workers()
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        program.wait_for("Worker process 0 was running 1 messages.")

    def test_each_worker_has_a_board_of_its_own(self, project: Project) -> None:
        project.stub("from pgqueue.engine.board import Board; print('board', Board.assigned().path)")
        program = project.start_workers(processes=2)
        boards = re.findall(r"board (.*)", program.output)
        assert len(set(boards)) == 2
        assert all(Path(board).exists() for board in boards)


class TestFailedStarts:
    def test_no_connection_ends_the_program_with_code_three(self, project: Project) -> None:
        project.write(
            "app.py",
            """
            import pgqueue
            from pgqueue.brokers.stub import StubBroker
            class Unreachable(StubBroker):
                def consume_many(self, *args, **kwargs):
                    raise pgqueue.errors.DatabaseUnavailable("Can't reach the server.")
            pgqueue.set_broker(Unreachable())
            """,
        )
        code, output = project.run("app", "-p", "2")
        assert code == 3
        assert output.count("Can't reach the server.") == 1
        assert "Traceback" not in output

    def test_a_bad_schema_ends_the_program_with_code_two(self, project: Project) -> None:
        project.stub("raise pgqueue.errors.SchemaOutdated(found=None, required='pgqueue_0002')")
        code, output = project.run("app", "-p", "2")
        assert code == 2
        assert output.count("Run `pgqueue migrate`") == 1
        assert "Traceback" not in output

    def test_an_error_in_a_module_is_shown_from_that_module_on(self, project: Project) -> None:
        project.stub("def setup():\n    return 1 / 0\n\nsetup()")
        code, output = project.run("app", "-p", "2")
        assert code == 2
        assert output.count("ZeroDivisionError") == 1
        first_frame = re.search(r'File "(.*)"', output)
        assert first_frame is not None
        assert first_frame[1].endswith("/app.py")

    def test_a_module_that_exits_ends_the_program_with_its_code(self, project: Project) -> None:
        project.stub("raise SystemExit(7)")
        assert project.run("app", "-p", "1")[0] == 7

    def test_the_replacement_of_a_worker_may_fail_without_ending_the_program(self, project: Project) -> None:
        project.stub("if os.path.exists('broken'): raise pgqueue.errors.DatabaseUnavailable('gone')")
        program = project.start_workers(processes=2)
        broken = project.write("broken", "")
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        program.wait_for("gone")
        program.wait_for("exited with code 3; restarting it")
        broken.unlink()
        wait_for_workers(program, 3)
        assert stop(program) == 0


class TestReloading:
    def test_hup_starts_the_same_process_anew(self, project: Project, tmp_path: Path) -> None:
        project.stub("print('version 1')")
        pid_file = tmp_path / "pgqueue.pid"
        program = project.start_workers("--pid-file", str(pid_file))
        project.stub("print('version two')")
        program.send(signal.SIGHUP)
        program.wait_for("version two")
        wait_for_workers(program, 2)
        assert program.running()
        assert int(pid_file.read_text()) == program.pid
        assert program.output.count("is booting up") == 2
        assert stop(program) == 0
        assert not pid_file.exists()

    def test_running_messages_are_finished_first(self, project: Project) -> None:
        project.stub(BLOCKING_ACTOR)
        program = project.start_workers()
        program.wait_for("the actor runs")
        program.send(signal.SIGHUP)
        program.wait_for("Stopping worker process")
        project.write("go", "")
        wait_for_workers(program, 2)
        output = program.output
        assert output.index("the actor is done") < output.rindex("is booting up")
        assert stop(program) == 0

    def test_a_stop_during_a_reload_wins(self, project: Project) -> None:
        project.stub(BLOCKING_ACTOR)
        program = project.start_workers()
        program.wait_for("the actor runs")
        program.send(signal.SIGHUP)
        program.wait_for("Stopping worker process")
        program.send(signal.SIGTERM)
        program.wait_for("SIGTERM: stopping")
        project.write("go", "")
        assert program.wait() == 0
        assert program.output.count("is booting up") == 1

    def test_it_is_the_same_interpreter_whatever_the_path_says(self, project: Project) -> None:
        project.stub("import sys; print('with', sys.executable)")
        program = project.start_workers(env={"PATH": "/nowhere", "VIRTUAL_ENV": None})
        program.send(signal.SIGHUP)
        wait_for_workers(program, 2)
        assert re.findall(r"^with (.*)$", program.output, re.MULTILINE) == [sys.executable] * 2
        assert stop(program) == 0

    def test_signals_work_after_a_reload(self, project: Project) -> None:
        project.stub()
        program = project.start_workers()
        for generation in (2, 3):
            program.send(signal.SIGHUP)
            wait_for_workers(program, generation)
        assert stop(program, signal.SIGINT) == 0
