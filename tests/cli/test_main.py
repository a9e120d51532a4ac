"""The command line as a whole: words, commands, exit codes, sentences for people."""

import argparse
import os
import re
import signal
from pathlib import Path

import pytest

import pgqueue
from pgqueue import cli
from pgqueue.errors import BrokerNotConfigured, DatabaseUnavailable, PgQueueError
from tests.support.eventually import eventually
from tests.support.project import Project, stop, worker_pids


class TestParser:
    def parse(self, *words: str) -> argparse.Namespace:
        return cli.make_argument_parser().parse_args(words)

    def test_the_defaults_are_dramatiqs(self) -> None:
        arguments = self.parse("app")
        assert (arguments.broker, arguments.modules) == ("app", [])
        assert arguments.processes == os.cpu_count()
        assert arguments.threads == 8
        assert arguments.path == "."
        assert arguments.queues is None
        assert arguments.pid_file is None
        assert arguments.log_file is None
        assert arguments.forks == []
        assert arguments.worker_fork_timeout == 30_000
        assert arguments.worker_shutdown_timeout == 600_000
        assert arguments.include_patterns == ["**.py"]
        assert arguments.exclude_patterns is None
        assert arguments.watch is None
        assert arguments.verbose == 0
        assert {arguments.skip_logging, arguments.use_spawn, arguments.watch_use_polling} == {False}

    def test_files_and_directories_are_given_as_text(self) -> None:
        arguments = self.parse("app", "--pid-file", "a.pid", "--log-file", "a.log", "--watch", ".")
        assert (arguments.pid_file, arguments.log_file, arguments.watch) == ("a.pid", "a.log", ".")

    def test_options_may_be_abbreviated(self) -> None:
        arguments = self.parse("app", "--proc", "3", "--fork", "a:b", "--fork", "c:d", "--skip")
        assert (arguments.processes, arguments.forks, arguments.skip_logging) == (3, ["a:b", "c:d"], True)

    def test_short_options_and_lists_work(self) -> None:
        arguments = self.parse(
            "app", "more", "-p2", "-t", "4", "-Q", "a", "b", "-P", "x", "y", "-vv", "-f", "a:b"
        )
        assert (arguments.modules, arguments.processes, arguments.threads) == (["more"], 2, 4)
        assert (arguments.queues, arguments.path, arguments.verbose) == (["a", "b"], ["x", "y"], 2)

    def test_watch_patterns_are_added_to_the_default(self) -> None:
        arguments = self.parse("app", "-i", "*.html", "-x", "tests/*", "-x", "docs/*")
        assert arguments.include_patterns == ["**.py", "*.html"]
        assert arguments.exclude_patterns == ["tests/*", "docs/*"]
        assert self.parse("app").include_patterns == ["**.py"]

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("soon", "worker-fork-timeout be a number."),
            ("9", "worker-fork-timeout too small (minimum recommended: 10ms)."),
            ("1800001", "worker-fork-timeout too large (maximum: 30 minutes)."),
        ],
    )
    def test_a_bad_fork_timeout_is_refused(
        self, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exit_:
            self.parse("app", "--worker-fork-timeout", text)
        assert exit_.value.code == 2
        assert complaint in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["-p", "-t"])
    @pytest.mark.parametrize("text", ["0", "-1", "many"])
    def test_counts_are_above_zero(self, option: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as exit_:
            self.parse("app", option, text)
        assert exit_.value.code == 2
        assert "above 0" in capsys.readouterr().err

    def test_the_help_lists_commands_and_examples(self) -> None:
        text = cli.make_argument_parser().format_help()
        assert all(f"\n  {name}" in text for name in cli.COMMANDS)
        assert "examples:" in text


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (DatabaseUnavailable("No\n server."), 3),
            (BrokerNotConfigured("No server."), 2),
            (PgQueueError("No server."), 2),
        ],
    )
    def test_ours_become_one_line(
        self, error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def run(_arguments: argparse.Namespace) -> int:
            raise error

        monkeypatch.setattr("pgqueue.cli.migrate.run", run)
        assert cli.main(["migrate"]) == code
        assert capsys.readouterr().err == "pgqueue: No server.\n"

    def test_ctrl_c_is_no_traceback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(_arguments: argparse.Namespace) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr("pgqueue.cli.migrate.run", run)
        assert cli.main(["migrate"]) == 130


class TestProgram:
    def test_the_version_stands_alone(self, project: Project) -> None:
        assert project.run("--version") == (0, f"{pgqueue.__version__}\n")

    def test_nothing_said_is_a_mistake(self, project: Project) -> None:
        code, output = project.run()
        assert code == 2
        assert "broker" in output

    @pytest.mark.parametrize("word", [[], ["worker"]])
    def test_the_word_worker_may_be_left_out(self, project: Project, word: list[str]) -> None:
        project.stub()
        program = project.start(*word, "app", "-p", "1")
        program.wait_for("Worker process is ready for action.")
        assert stop(program) == 0

    def test_options_may_stand_before_and_between_modules(self, project: Project) -> None:
        project.stub()
        project.write("more.py", "print('more')")
        program = project.start("-p", "1", "app", "-t", "2", "more")
        program.wait_for("Worker process is ready for action.")
        assert "more\n" in program.output

    @pytest.mark.parametrize(
        ("name", "complaint"),
        [
            ("nosuch", "There is no module 'nosuch'."),
            ("app:nothing", "Module 'app' does not define a 'nothing' variable."),
            ("app:number", "'app:number' is not a Broker."),
            ("app.py", "write it as in an import, 'app'."),
            ("", "'' names no module"),
            (":x", "':x' names no module"),
            (".app", "'.app' names no module"),
        ],
    )
    def test_a_wrong_name_ends_with_code_two_and_one_line(
        self, project: Project, name: str, complaint: str
    ) -> None:
        project.stub("number = 1")
        code, output = project.run(name, "-p", "2")
        assert code == 2
        assert len(re.findall(r"\[CRITICAL\]", output)) == 1
        assert complaint in output.splitlines()[-1]

    def test_a_module_without_a_broker_says_both_ways_out(self, project: Project) -> None:
        project.write("app.py", "")
        code, output = project.run("app", "-p", "2")
        assert code == 2
        assert "Traceback" not in output
        assert "PGQUEUE_URL" in output
        assert "pgqueue-engine[embedded]" in output

    def test_the_reason_is_on_the_terminal_even_if_the_log_goes_elsewhere(self, project: Project) -> None:
        code, output = project.run("nosuch", "-p", "1", "--log-file", "log")
        assert code == 2
        assert output.startswith("pgqueue: There is no module 'nosuch'.")

    def test_a_log_file_that_can_not_be_written_is_named(self, project: Project) -> None:
        project.stub()
        code, output = project.run("app", "--log-file", "nowhere/log")
        assert (code, output) == (
            2,
            "pgqueue: Can't write the log file 'nowhere/log': No such file or directory.\n",
        )


#: Runs pgqueue with the words of the command line and none of the standard streams.
CLOSED = """
import os, sys
os.closerange(0, 3)
os.execv(sys.executable, [sys.executable, "-m", "pgqueue", *sys.argv[1:]])
"""


class TestClosedStreams:
    @pytest.mark.slow
    def test_workers_run_and_write_their_log_file(self, project: Project) -> None:
        project.stub("print('imported', flush=True)")
        program = project.start_python("-c", CLOSED, "app", "-p", "1", "--log-file", "log")

        def look() -> None:
            log = project.directory / "log"
            assert log.exists()
            assert "Worker process is ready for action." in log.read_text()
            assert "imported\n" in log.read_text()

        eventually(look, within_s=20.0)
        assert stop(program) == 0
        assert "Worker process has stopped." in (project.directory / "log").read_text()

    @pytest.mark.parametrize(("words", "code"), [(["nosuch"], 2), (["--version"], 0), (["migrate"], 2)])
    def test_exit_codes_are_as_ever(self, project: Project, words: list[str], code: int) -> None:
        assert project.start_python("-c", CLOSED, *words).wait() == code


class TestPidFile:
    def test_it_is_there_while_the_program_runs(self, project: Project) -> None:
        project.stub()
        program = project.start_workers("--pid-file", "pid")
        assert int((project.directory / "pid").read_text()) == program.pid
        assert stop(program) == 0
        assert not (project.directory / "pid").exists()

    def test_it_is_removed_after_a_failed_start_and_a_hard_end(self, project: Project) -> None:
        assert project.run("nosuch", "--pid-file", "pid")[0] == 2
        assert not (project.directory / "pid").exists()

    @pytest.mark.parametrize("kind", ["live", "garbage"])
    def test_a_live_one_and_garbage_end_with_code_four(self, project: Project, kind: str) -> None:
        content = {"live": str(os.getpid()), "garbage": "garbage"}[kind]
        project.stub()
        project.write("pid", content)
        code, output = project.run("app", "--pid-file", "pid")
        assert code == 4
        assert output.startswith("pgqueue: The pid file 'pid'")
        assert len(output.splitlines()) == 1
        assert (project.directory / "pid").read_text() == content

    def test_that_of_a_killed_program_is_replaced(self, project: Project) -> None:
        project.stub()
        first = project.start_workers("--pid-file", "pid")
        first.kill()
        second = project.start_workers("--pid-file", "pid")

        def look() -> None:
            assert int((project.directory / "pid").read_text()) == second.pid

        eventually(look)
        assert worker_pids(second)
        assert stop(second, signal.SIGINT) == 0


def test_every_registered_command_has_its_module() -> None:
    for command in cli.COMMANDS.values():
        assert Path(cli.__file__).with_name(f"{command.module.rpartition('.')[2]}.py").exists()
