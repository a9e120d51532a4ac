"""The file that says which process is the main one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgqueue.supervisor.pidfile import PidFile, PidFileError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pgqueue.pid"


@pytest.fixture
def dead_pid() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_it_holds_our_id_for_everyone_to_read_until_released(path: Path) -> None:
    before = os.umask(0o077)
    try:
        pid_file = PidFile(path).claim()
    finally:
        os.umask(before)
    assert int(path.read_text()) == os.getpid()
    assert path.stat().st_mode & 0o777 == 0o644
    pid_file.release()
    assert not path.exists()
    pid_file.release()


def test_a_stale_file_is_replaced(path: Path, dead_pid: int) -> None:
    path.write_text(f"{dead_pid}\n")
    PidFile(path).claim()
    assert int(path.read_text()) == os.getpid()


def test_our_own_file_is_accepted(path: Path) -> None:
    PidFile(path).claim()
    PidFile(path).claim()
    assert int(path.read_text()) == os.getpid()


def test_the_file_of_a_running_process_is_refused_and_kept(path: Path) -> None:
    path.write_text(f"{os.getppid()}")
    with pytest.raises(PidFileError, match=f"pgqueue.pid' names the running process {os.getppid()}"):
        PidFile(path).claim()
    assert path.read_text() == f"{os.getppid()}"


@pytest.mark.parametrize("content", ["", "important data", "12x", "-1", "0", "1.5"])
def test_a_file_that_holds_something_else_is_refused_and_kept(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(PidFileError, match="holds no process id"):
        PidFile(path).claim()
    assert path.read_text() == content


def test_binary_garbage_is_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PidFileError, match="Can't read"):
        PidFile(path).claim()


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(PidFileError, match=r"Can't write the pid file '.*nowhere/pid': No such file"):
        PidFile(tmp_path / "nowhere" / "pid").claim()
