"""What a crashing process leaves, in processes that really crash."""

import os
import signal
from pathlib import Path

import pytest

from pgqueue.supervisor.crashes import FRESH_S, SPARED, Bystanders, crash_file, read_crash
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


def crash(directory: Path, body: str) -> tuple[int, int]:
    """Run this in a thread; return the thread's identifier and how the process ended."""
    (directory / "board").touch()
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
def test_the_thread_and_its_stack_are_told(tmp_path: Path, body: str, code: int, function: str) -> None:
    thread, ended = crash(tmp_path, body)
    left = read_crash(tmp_path / "board", code=code)
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
    tmp_path: Path, body: str
) -> None:
    _, code = crash(tmp_path, body)
    assert crash_file(tmp_path / "board").exists()
    assert read_crash(tmp_path / "board", code=code) is None


def test_an_exit_is_one_on_a_full_disk_too(tmp_path: Path) -> None:
    """Whoever calls it must not go on: a worker process would, as a second main process."""
    _, code = crash(tmp_path, "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); leave()")
    assert code == 7


def test_a_board_that_is_gone_has_no_word(tmp_path: Path) -> None:
    _, code = crash(tmp_path, "fault()")
    (tmp_path / "board").unlink()
    assert read_crash(tmp_path / "board", code=code) is None
    assert not (tmp_path / "board").exists()
    assert read_crash(tmp_path / "gone" / "board", code=code) is None


def test_who_never_noted_crashes_has_left_none(tmp_path: Path) -> None:
    assert read_crash(tmp_path / "board", code=7) is None


def test_an_old_word_and_one_of_another_end_are_not_believed(tmp_path: Path) -> None:
    """C code may fork, and what it forks may crash, long before the process dies of something else."""
    _, code = crash(tmp_path, "fault()")
    assert read_crash(tmp_path / "board", code=-signal.SIGKILL) is None
    assert read_crash(tmp_path / "board", code=0) is None
    assert read_crash(tmp_path / "board", code=code) is not None
    file = crash_file(tmp_path / "board")
    os.utime(file, (0, file.stat().st_mtime - FRESH_S))
    assert read_crash(tmp_path / "board", code=code) is None


def test_who_is_beside_every_crash_is_charged_in_the_end() -> None:
    """A fault may show in another thread than the one that has caused it."""
    bystanders = Bystanders()
    charged = [bystanders.guilty(culprit, [1, culprit]) for culprit in (2, 3, 4, 5)]
    assert charged == [[2], [3], [4, 1], [5, 1]]
    assert SPARED == 2
