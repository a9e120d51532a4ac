"""A program that is forked from a warm interpreter is told apart from one that Python starts by nothing it asks for."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Process
from tests.support.warm import Forked, can_fork

#: What a program knows of itself.
TOLD = """
import json, os, sys, tempfile
print(json.dumps({
    "argv": sys.argv, "orig_argv": sys.orig_argv[1:], "path": sys.path, "name": __name__,
    "file": globals().get("__file__"), "cwd": os.getcwd(),
    "main": sys.modules["__main__"].__dict__ is globals(), "bytecode": sys.dont_write_bytecode,
    "environment": {name: os.environ.get(name) for name in ("WHO", "HOME", "PYTHONPATH", "PATH")},
    "leads": os.getsid(0) == os.getpgrp() == os.getpid(), "scratch": tempfile.gettempdir() == os.environ["TMPDIR"],
    "input": sys.stdin.read(), "inheritable": [fd for fd in (3, 4, 5, 6) if os.path.exists(f"/proc/self/fd/{fd}")][1:],
}))
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "told.py").write_text(TOLD)
    return tmp_path


def ended(arguments: list[str], directory: Path, *, warm: bool, **env: str | None) -> tuple[int, str]:
    with Process(arguments, cwd=directory, env=env, warm=warm) as program:
        return program.wait(), program.output


@pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")
@pytest.mark.parametrize(
    "arguments", [["-m", "told", "one", "-x"], ["told.py", "one", "-x"], ["-c", TOLD, "one", "-x"]]
)
def test_it_finds_what_it_would_find_after_a_start(arguments: list[str], directory: Path) -> None:
    names = {"PYTHONDONTWRITEBYTECODE": "1", "WHO": "me", "HOME": None}
    assert can_fork(arguments, names)
    cold = ended(arguments, directory, warm=False, **names)
    assert cold[0] == 0, cold
    assert ended(arguments, directory, warm=True, **names) == cold


@pytest.mark.parametrize("warm", [True, False])
def test_it_ends_as_it_would_after_a_start(warm: bool, directory: Path) -> None:
    assert ended(["-c", "raise SystemExit(3)"], directory, warm=warm) == (3, "")
    assert ended(["-c", "raise SystemExit('words')"], directory, warm=warm) == (1, "words\n")
    code, output = ended(["-c", "1 / 0"], directory, warm=warm)
    assert (code, output.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")
    late = "import atexit, threading; atexit.register(print, 'exit'); threading.Timer(0.1, print, ['thread']).start()"
    assert ended(["-c", late], directory, warm=warm) == (0, "thread\nexit\n")


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_reach_it(warm: bool, number: signal.Signals) -> None:
    with Process(["-c", "import time; print('up'); time.sleep(60)"], warm=warm) as program:
        program.wait_for("up\n")
        assert program.running()
        program.send(number)
        assert program.wait() == -number
        assert not program.running()


@pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")
def test_a_signal_to_one_that_has_ended_is_nothing() -> None:
    """Also if the news of its end is still under way."""
    news, told = os.pipe()
    with os.fdopen(news, "rb", buffering=0) as reader, os.fdopen(told, "wb", buffering=0) as writer:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        writer.write(f"{gone.pid}\n".encode())
        program = Forked(reader, ["-c", ""])
        program.send_signal(signal.SIGTERM)
        writer.write(b"0\n")
        assert program.wait(timeout=30.0) == 0


def test_what_is_meant_for_the_start_of_python_is_started() -> None:
    assert not can_fork(["-m", "pgqueue"], {"PYTHONPATH": str(ROOT)})
    assert not can_fork(["-m", "pgqueue"], {"PYTHONWARNINGS": None})
    assert not can_fork(["-X", "importtime", "-c", ""], {})
