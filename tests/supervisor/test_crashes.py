"""What a crashing process leaves, in processes that really crash."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgqueue.supervisor.crashes import FRESH_S, SPARED, Bystanders, LastWord, crash_file
from tests.support.processes import Process

CRASH = """
import ctypes, faulthandler, os, resource, sys, threading
from pathlib import Path
from pgqueue.supervisor.crashes import note_crashes

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

def fault():
    ctypes.string_at(0)

def leave():
    os._exit(7)

def fork(end):
    if (child := os.fork()) == 0:
        end()
    os.waitpid(child, 0)

def body():
    print(threading.get_ident(), flush=True)
    {body}

note_crashes(Path("board"))
thread = threading.Thread(target=body)
thread.start()
thread.join()
"""


@pytest.fixture
def word(tmp_path: Path) -> Iterator[LastWord]:
    opened = LastWord(tmp_path / "board")
    yield opened
    opened.close()


def crash(directory: Path, body: str) -> tuple[int, int]:
    """Run this in a thread; return the thread's identifier and how the process ended."""
    with Process(["-c", CRASH.replace("{body}", body)], cwd=directory, warm=True) as process:
        code = process.wait()
        return int(process.output.split()[0]), code


@pytest.mark.parametrize(
    ("body", "code", "function"),
    [
        ("fault()", -signal.SIGSEGV, "string_at"),
        ("os.abort()", -signal.SIGABRT, "body"),
        ("leave()", 7, "leave"),
        ("fork(leave); fork(fault); leave()", 7, "leave"),
    ],
)
def test_the_thread_and_its_stack_are_told(
    tmp_path: Path, word: LastWord, body: str, code: int, function: str
) -> None:
    thread, ended = crash(tmp_path, body)
    left = word.read(code=code)
    assert left is not None
    assert (left.thread, ended) == (thread, code)
    assert f"in {function}" in left.stack
    assert "in body" in left.stack


@pytest.mark.parametrize(
    "body",
    [
        "fork(leave); fork(fault)",
        "os.kill(os.getpid(), 9)",
        "faulthandler.disable(); fault()",
        "faulthandler.enable(sys.stderr); fault()",
    ],
)
def test_nothing_is_told_of_forks_of_kills_and_where_the_program_wants_none(
    tmp_path: Path, word: LastWord, body: str
) -> None:
    _, code = crash(tmp_path, body)
    assert word.read(code=code) is None


def test_an_exit_is_one_on_a_full_disk_too(tmp_path: Path) -> None:
    """Whoever calls it must not go on: a worker process would, as a second main process."""
    _, code = crash(tmp_path, "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); leave()")
    assert code == 7


@pytest.mark.parametrize(("body", "code"), [("fault()", -signal.SIGSEGV), ("leave()", 7)])
def test_it_is_heard_though_somebody_has_removed_the_file(
    tmp_path: Path, word: LastWord, body: str, code: int
) -> None:
    thread, _ = crash(tmp_path, body)
    crash_file(tmp_path / "board").unlink()
    left = word.read(code=code)
    assert left is not None
    assert left.thread == thread
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_has_put_something_there(tmp_path: Path) -> None:
    """A link of that name would have us write where it leads."""
    crash_file(tmp_path / "board").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        LastWord(tmp_path / "board")
    assert not (tmp_path / "precious").exists()


def test_who_never_noted_crashes_has_left_none(word: LastWord) -> None:
    assert word.read(code=7) is None
    assert word.read(code=-signal.SIGSEGV) is None


def test_an_old_word_and_one_of_another_end_are_not_believed(tmp_path: Path, word: LastWord) -> None:
    """C code may fork, and what it forks may crash, long before the process dies of something else."""
    _, code = crash(tmp_path, "fault()")
    assert word.read(code=-signal.SIGKILL) is None
    assert word.read(code=0) is None
    assert word.read(code=code) is not None
    make_old(tmp_path)
    assert word.read(code=code) is None


def test_the_word_of_an_exit_is_of_this_one_however_late_it_is_read(tmp_path: Path, word: LastWord) -> None:
    """By a main process that was stopped meanwhile: the one who wrote it ended with that."""
    thread, code = crash(tmp_path, "leave()")
    make_old(tmp_path)
    left = word.read(code=code)
    assert left is not None
    assert left.thread == thread


def make_old(directory: Path) -> None:
    file = crash_file(directory / "board")
    os.utime(file, (0, file.stat().st_mtime - FRESH_S))


def test_who_is_beside_every_crash_is_charged_in_the_end() -> None:
    """A fault may show in another thread than the one that has caused it. Each claim gives it another number."""
    bystanders = Bystanders()
    charged = [
        bystanders.guilty(culprit, {culprit: 100 + culprit, 10 * culprit: 1}) for culprit in range(1, 6)
    ]
    assert charged == [[1], [2], [3], [4, 40], [5, 50]]
    assert SPARED == 3
