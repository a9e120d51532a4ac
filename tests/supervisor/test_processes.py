"""What runs in the processes of a program of workers, and what they write."""

import os
import re
import signal
import tempfile
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.project import Project, stop, wait_for_workers, worker_pids


class TestProcesses:
    @pytest.mark.slow
    def test_workers_can_be_spawned(self, project: Project) -> None:
        project.stub("import multiprocessing; print('started by', multiprocessing.get_start_method())")
        program = project.start_workers("--use-spawn", "--fork", "beside:run", processes=2)
        project.write("beside.py", "def run(): print('beside')")
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        wait_for_workers(program, 3)
        assert stop(program) == 0

    @pytest.mark.slow
    def test_workers_can_come_from_a_fork_server(self, project: Project) -> None:
        """As they do with --use-spawn from Python 3.14 on."""
        project.stub()
        project.write(
            "later.py",
            """
            import sys
            from pgqueue.cli import main
            if __name__ == "__main__":
                sys.version_info = (3, 14)
                sys.exit(main(["app", "-p", "2", "--use-spawn", "--watch", "."]))
            """,
        )
        program = project.start_python("later.py")
        wait_for_workers(program, 2)
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        wait_for_workers(program, 3)
        program.wait_for("Watching '.' for changes.")
        project.stub("print('version two')")
        program.wait_for("version two")
        wait_for_workers(program, 5)
        assert stop(program) == 0

    def test_a_workers_collector_leaves_out_what_the_program_has_loaded(self, project: Project) -> None:
        project.stub(
            """
            import gc
            from pgqueue.middleware import Middleware

            class Telling(Middleware):
                def before_worker_boot(self, broker, worker):
                    print("left out:", gc.get_freeze_count() > len(gc.get_objects()), gc.isenabled())

            broker.add_middleware(Telling())
            """
        )
        program = project.start_workers()
        program.wait_for("left out: True True")
        assert stop(program) == 0

    def test_signals_are_let_through_in_all_threads_of_a_worker(self, project: Project) -> None:
        project.stub(
            """
            import signal
            from pgqueue.middleware import Middleware

            def tell(where):
                print(where, "holds back", sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))

            class Telling(Middleware):
                def after_process_boot(self, broker): tell("boot")
                def after_worker_thread_boot(self, broker, thread): tell("worker thread")
                def after_consumer_thread_boot(self, broker, thread): tell("consumer thread")

            def fork(): tell("fork")

            @pgqueue.actor
            def nothing(): pass

            broker.add_middleware(Telling())
            """
        )
        program = project.start_workers("--fork-function", "app:fork", "-t", "1")
        for where in ("boot", "worker thread", "consumer thread", "fork"):
            program.wait_for(f"{where} holds back []")

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
    def test_the_main_process_has_no_thread_that_a_fork_could_lose(self, project: Project) -> None:
        project.stub()
        program = project.start_workers("--watch", ".")
        assert "\nThreads:\t1\n" in Path(f"/proc/{program.pid}/status").read_text()

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads /proc")
    def test_a_worker_holds_no_end_of_its_siblings_pipes(self, project: Project) -> None:
        """Otherwise a worker whose main process was killed would block on a pipe that nobody reads."""
        project.stub("print('x' * 1000)")
        program = project.start_workers(processes=3)
        first, _second, third = worker_pids(program)
        assert str(Path(f"/proc/{first}/fd/1").readlink()) not in pipes(third)

    def test_further_modules_and_directories_are_imported(self, project: Project, tmp_path: Path) -> None:
        (tmp_path / "lib").mkdir()
        project.write("lib/tasks.py", "print('tasks, too')")
        project.stub()
        program = project.start_workers("tasks", "--path", ".", "lib")
        assert "tasks, too" in program.output

    def test_only_the_queues_asked_for_are_served(self, project: Project) -> None:
        project.stub(
            """
            @pgqueue.actor(queue_name="fast")
            def fast(): print("fast ran")
            @pgqueue.actor(queue_name="slow")
            def slow(): print("slow ran")
            slow.send(); fast.send()
            """
        )
        program = project.start_workers("-Q", "fast")
        program.wait_for("fast ran")
        assert stop(program) == 0
        assert "slow ran" not in program.output


def pipes(pid: int) -> set[str]:
    targets = (str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    return {target for target in targets if target.startswith("pipe:")}


def test_a_process_is_booted_between_its_broker_and_the_other_modules(project: Project) -> None:
    project.stub(
        """
        from pgqueue.middleware import Middleware
        class Boot(Middleware):
            def after_process_boot(self, broker): print("booted")
        broker.add_middleware(Boot())
        print("broker imported")
        """
    )
    project.write("tasks.py", "print('tasks imported')")
    output = project.start_workers("tasks").output
    assert output.index("broker imported") < output.index("booted") < output.index("tasks imported")
    assert output.index("tasks imported") < output.index("Worker process is ready for action.")


class TestForks:
    def test_functions_run_beside_the_workers_once_these_are_up(self, project: Project) -> None:
        project.stub("def beside(): print('beside, in', os.getpid())")
        program = project.start_workers("--fork", "app:beside", processes=2)
        output = program.wait_for("beside, in")
        assert re.search(
            r"\[pgqueue\.ForkProcess\(0\)\] \[INFO\] Fork process 'app:beside' is ready for action\.$",
            output,
            re.MULTILINE,
        )
        for number in range(2):
            assert f"[pgqueue.WorkerProcess({number})] [INFO] Worker process is ready for action." in output
        assert output.rindex("Worker process is ready") < output.index("beside, in")
        assert stop(program) == 0

    def test_middleware_brings_its_own_and_each_runs_once(self, project: Project) -> None:
        project.write("metrics.py", "def serve(): print('serving')")
        project.stub(
            """
            from pgqueue.middleware import Middleware
            import metrics
            class Metrics(Middleware):
                @property
                def forks(self): return [metrics.serve]
            broker.add_middleware(Metrics())
            """
        )
        program = project.start_workers("--fork", "app:os.getpid", processes=2)
        program.wait_for("serving")
        program.wait_for("Fork process 'app:os.getpid' is ready")
        os.kill(worker_pids(program)[0], signal.SIGKILL)
        wait_for_workers(program, 3)
        assert stop(program) == 0
        assert program.output.count("serving") == 1

    def test_a_stop_lets_them_clean_up(self, project: Project) -> None:
        project.stub(
            """
            import time
            def beside():
                try:
                    print("it runs beside")
                    while True: time.sleep(60)
                finally:
                    print("cleaned up")
            """
        )
        program = project.start_workers("--fork", "app:beside")
        program.wait_for("it runs beside")
        assert stop(program) == 0
        assert "cleaned up" in program.output

    def test_one_that_fails_is_run_again(self, project: Project) -> None:
        project.stub("def beside(): return 5")
        program = project.start_workers("--fork", "app:beside")
        program.wait_for("Fork process 'app:beside'")
        program.wait_for("exited with code 5; restarting it in 0.2 s.")

    def test_a_missing_one_ends_the_program_with_code_two(self, project: Project) -> None:
        project.stub()
        code, output = project.run("app", "-p", "1", "--fork", "nosuch:beside")
        assert code == 2
        assert "There is no module 'nosuch'." in output

    @pytest.mark.parametrize("name", ["app", "app:number"])
    def test_what_is_no_function_ends_the_program_with_code_two(self, project: Project, name: str) -> None:
        project.stub("number = 5")
        code, output = project.run("app", "-p", "1", "--fork", name)
        assert code == 2
        assert f"'{name}' is not a function: name one, --fork-function module:function." in output

    def test_they_start_without_workers_that_take_too_long(self, project: Project) -> None:
        project.write("beside.py", "def run(): print('beside')")
        project.stub("import time\nwhile not os.path.exists('go'): time.sleep(0.01)")
        program = project.start("app", "-p", "1", "--fork", "beside:run", "--worker-fork-timeout", "10")
        program.wait_for("beside")
        project.write("go", "")
        wait_for_workers(program, 1)


class TestOutput:
    def test_everything_goes_through_the_main_process_to_the_log_file(
        self, project: Project, tmp_path: Path
    ) -> None:
        project.stub(
            "import sys; print('to stdout'); print('to stderr', file=sys.stderr); os.system('echo from C')"
        )
        log = tmp_path / "pgqueue.log"
        log.write_text("kept\n")
        program = project.start("app", "-p", "1", "--log-file", str(log))

        def look() -> str:
            text = log.read_text()
            assert "Worker process is ready" in text
            return text

        text = eventually(look, within_s=15.0)
        assert text.startswith("kept\n")
        assert {"to stdout", "to stderr", "from C"} <= set(text.splitlines())
        assert stop(program) == 0
        assert program.output == ""

    def test_lines_of_different_processes_never_mix(self, project: Project) -> None:
        project.stub("for n in range(300): print(str(os.getpid() % 10) * 500)")
        program = project.start_workers(processes=4)
        lines = [line for line in program.output.splitlines() if not line.startswith("[")]
        assert len(lines) == 1200
        assert {len(line) for line in lines} == {500}
        assert all(len(set(line)) == 1 for line in lines)

    def test_logging_can_be_left_to_the_program(self, project: Project) -> None:
        project.stub("import logging; logging.basicConfig(format='mine %(message)s', level='INFO')")
        program = project.start("app", "-p", "1", "--skip-logging")
        program.wait_for("mine Worker process is ready for action.")
        assert stop(program) == 0

    def test_verbose_shows_debug_messages(self, project: Project) -> None:
        project.stub("import logging; logging.getLogger('mine').debug('a detail')")
        assert "a detail" not in project.start_workers().output
        assert "[mine] [DEBUG] a detail" in project.start_workers("-v").output

    def test_verbose_shows_what_an_idle_worker_has_started(self, project: Project) -> None:
        project.stub("broker.declare_queue('default')")
        program = project.start_workers("-v", "-t", "2")
        for line in (
            "[pgqueue.WorkerProcess(0)] [DEBUG] Loading the broker, 'app'.",
            "[pgqueue.WorkerProcess(0)] [DEBUG] Starting 2 worker threads.",
            "[pgqueue.worker.Worker] [DEBUG] Serving queue 'default'.",
            "[pgqueue.worker.ConsumerThread(default)] [DEBUG] Consumer thread is running.",
            "[pgqueue.worker.WorkerThread] [DEBUG] Worker thread is running.",
        ):
            program.wait_for(line)
        assert stop(program) == 0
        assert program.output.count("Worker thread is running.") == 2

    def test_the_format_is_dramatiqs(self, project: Project) -> None:
        project.stub()
        program = project.start_workers()
        assert re.search(
            rf"^\[....-..-.. ..:..:..,...\] \[PID {program.pid}\] \[MainThread\] \[pgqueue\.MainProcess\] "
            r"\[INFO\] pgqueue '.*' is booting up\.$",
            program.output,
            re.MULTILINE,
        )


def test_the_temporary_directory_is_private(project: Project) -> None:
    project.stub("from pgqueue.engine.board import Board; print('board', Board.assigned().path)")
    program = project.start_workers()
    board = Path(re.findall(r"board (.*)", program.output)[0])
    assert board.is_relative_to(tempfile.gettempdir())
    assert board.parent.stat().st_mode & 0o077 == 0
