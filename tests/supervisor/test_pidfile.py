"""The file that says which process is the main one."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pgqueue.supervisor import pidfile
from pgqueue.supervisor.pidfile import PidFile, PidFileError
from tests.support.processes import Process


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


@pytest.mark.parametrize("target", ["nowhere", "file"], ids=["a dangling link", "a link to a stale file"])
def test_a_link_is_not_followed(path: Path, dead_pid: int, target: str) -> None:
    (path.parent / "file").write_text(f"{dead_pid}\n")
    path.symlink_to(path.parent / target)
    with pytest.raises(PidFileError, match=r"pgqueue.pid' is a link, which is not followed. Remove it"):
        PidFile(path).claim()
    assert path.is_symlink()
    assert not (path.parent / "nowhere").exists()
    assert (path.parent / "file").read_text() == f"{dead_pid}\n"


def test_a_second_name_of_a_stale_file_keeps_its_content(path: Path, dead_pid: int) -> None:
    path.write_text(f"{dead_pid}\n")
    other = path.with_name("other")
    os.link(path, other)
    PidFile(path).claim()
    assert int(path.read_text()) == os.getpid()
    assert other.read_text() == f"{dead_pid}\n"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["other", "pgqueue.pid"]


def test_a_pipe_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(PidFileError, match="holds no process id"):
        PidFile(path).claim()


def test_a_file_that_is_just_being_made_is_waited_for(path: Path) -> None:
    path.touch()
    writer = threading.Timer(0.05, path.write_text, [f"{os.getppid()}\n"])
    writer.start()
    with pytest.raises(PidFileError, match="names the running process"):
        PidFile(path).claim()
    writer.join()


@pytest.mark.parametrize("stale", [False, True], ids=["no file", "a stale file"])
def test_of_programs_that_claim_it_at_once_one_gets_it(path: Path, dead_pid: int, stale: bool) -> None:
    # Nobody ends before all have tried: the file of a dead process would be stale again.
    source = """
        import os, sys
        from pathlib import Path
        from pgqueue.supervisor.pidfile import PidFile, PidFileError

        path, stale = Path(sys.argv[1]), sys.argv[2]
        for _ in range(15):
            path.unlink(missing_ok=True)
            if stale:
                path.write_text(stale)
            (wait, go), (told, tell), (stay, end) = os.pipe(), os.pipe(), os.pipe()
            for _ in range(4):
                if not os.fork():
                    os.close(go)
                    os.close(end)
                    os.read(wait, 1)
                    try:
                        PidFile(path).claim()
                    except PidFileError:
                        os.write(tell, b"-")
                    else:
                        os.write(tell, b"+")
                    os.read(stay, 1)
                    os._exit(0)
            os.close(go)
            outcome = "".join(os.read(told, 1).decode() for _ in range(4))
            assert sorted(outcome) == ["+", "-", "-", "-"], outcome
            os.close(end)
            for _ in range(4):
                os.wait()
        print("one each time")
    """
    with Process.script(source, str(path), str(dead_pid) if stale else "") as program:
        assert program.wait() == 0, program.output
        assert "one each time" in program.output


def test_a_stranger_who_holds_the_file_is_not_waited_for_for_ever(
    path: Path, dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pidfile, "_HELD_S", 0.05)
    path.write_text(f"{dead_pid}\n")
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        PidFile(path).claim()
    assert int(path.read_text()) == os.getpid()


def test_what_can_not_be_written_whole_is_not_left_empty(path: Path) -> None:
    source = """
        import resource, signal, sys
        from pathlib import Path
        from pgqueue.supervisor.pidfile import PidFile, PidFileError

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        try:
            PidFile(Path(sys.argv[1])).claim()
        except PidFileError as error:
            sys.exit(0 if "Can't write the pid file" in str(error) else 1)
        sys.exit(2)
    """
    with Process.script(source, str(path)) as program:
        assert program.wait() == 0, program.output
    assert not list(path.parent.iterdir())
