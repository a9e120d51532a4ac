"""Starting anew when files change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pgqueue.supervisor.reload import matches, setup_file_watcher
from tests.support.eventually import eventually
from tests.support.project import Project, stop, wait_for_workers


@pytest.mark.parametrize(
    ("path", "patterns", "expected"),
    [
        ("app.py", ["**.py"], True),
        ("deep/down/app.py", ["**.py"], True),
        ("app.py", ["**/*.py"], True),
        ("deep/down/app.py", ["**/*.py"], True),
        ("app.pyc", ["**.py"], False),
        ("page.html", ["**.py", "*.html"], True),
        ("templates/page.html", ["templates/*"], True),
        ("app.py", [], False),
    ],
)
def test_patterns_match_relative_paths(path: str, patterns: list[str], expected: bool) -> None:
    assert matches(path, patterns) is expected


@pytest.mark.parametrize("use_polling", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_watcher_reports_the_changes_that_count(tmp_path: Path, use_polling: bool) -> None:
    changes: list[str] = []
    ignored, counted = tmp_path / "skip.py", tmp_path / "count.py"
    observer = setup_file_watcher(tmp_path, use_polling, None, ["skip.*"], on_change=changes.append)
    try:
        ignored.write_text("1")
        (tmp_path / "notes.txt").write_text("1")
        counted.write_text("1")

        def look() -> None:
            assert changes

        eventually(look)
    finally:
        observer.stop()
        observer.join()
    assert set(changes) == {"count.py"}


def test_a_renamed_file_counts_under_both_names(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("1")
    changes: list[str] = []
    observer = setup_file_watcher(tmp_path, on_change=changes.append)
    try:
        source.rename(tmp_path / "a.py")

        def look() -> None:
            assert changes == ["a.py"]

        eventually(look)
    finally:
        observer.stop()
        observer.join()


def test_without_more_words_the_process_gets_a_hup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kills: list[tuple[int, int]] = []
    fake_kill: Callable[[int, int], None] = lambda pid, number: kills.append((pid, number))  # noqa: E731
    monkeypatch.setattr(os, "kill", fake_kill)
    observer = setup_file_watcher(str(tmp_path))
    try:
        (tmp_path / "a.py").write_text("1")

        def look() -> None:
            assert (os.getpid(), 1) in kills

        eventually(look)
    finally:
        observer.stop()
        observer.join()


class TestWholeProgram:
    def test_a_changed_file_starts_the_program_anew(self, project: Project) -> None:
        project.stub("print('version one')")
        program = project.start_workers("--watch", ".")
        program.wait_for("Watching '.' for changes.")
        project.stub("print('version two')")
        program.wait_for("'app.py' has changed: reloading.")
        program.wait_for("version two")
        wait_for_workers(program, 2)
        assert stop(program) == 0

    def test_a_broken_file_is_reported_and_mended_by_the_next_change(self, project: Project) -> None:
        project.stub()
        program = project.start_workers("--watch", ".")
        program.wait_for("Watching '.' for changes.")
        project.stub("this is no Python")
        program.wait_for("SyntaxError")
        watching = program.output.count("Watching '.' for changes.")
        assert program.running()

        def look() -> None:
            assert program.output.count("Watching '.' for changes.") >= max(2, watching)

        eventually(look)
        project.stub("print('mended')")
        program.wait_for("mended")
        wait_for_workers(program, 2)
        assert stop(program) == 0

    def test_reading_files_does_not_reload(self, project: Project) -> None:
        """What follows the reading shows that it was seen and did not count."""
        project.stub()
        data = project.write("data.py", "1")
        program = project.start_workers("--watch", ".")
        program.wait_for("Watching '.' for changes.")
        data.read_text()
        project.write("data.txt", "1")
        project.write("last.py", "1")
        wait_for_workers(program, 2)
        assert "data.py" not in program.output
        assert program.output.count("has changed") == program.output.count("'last.py' has changed")

    def test_a_missing_directory_is_a_mistake(self, project: Project) -> None:
        project.stub()
        code, output = project.run("app", "--watch", "nowhere")
        assert code == 2
        assert output.endswith("argument --watch: there is no directory 'nowhere'.\n")

    def test_without_watchdog_the_way_out_is_named(self, project: Project) -> None:
        project.stub()
        # An empty spec stands for a package that is not installed.
        project.write(
            "sitecustomize.py",
            """
            import importlib.util
            find_spec = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *rest: None if name == "watchdog" else find_spec(name, *rest)
            """,
        )
        path = os.pathsep.join([str(project.directory), os.environ.get("PYTHONPATH", ""), str(Path.cwd())])
        code, output = project.run("app", "--watch", ".", env={"PYTHONPATH": path})
        assert code == 2
        assert "pip install 'pgqueue-engine[watch]'" in output
