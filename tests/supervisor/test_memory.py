"""A process that the kernel kills for want of memory is told from one that somebody kills."""

from pathlib import Path

import psycopg
import pytest

from pgqueue.supervisor import memory
from pgqueue.supervisor.memory import MemoryKills
from tests.support.eventually import eventually
from tests.support.project import Project

#: Counts a kill as the kernel does, and dies as of one.
APP = """
import os, signal, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)

@pgqueue.actor(max_retries=0)
def devour():
    with open("counter") as counter:
        number = int(counter.read().split()[-1])
    with open("counter.new", "w") as counter:
        counter.write(f"oom 5\\noom_kill {number + 1}\\n")
    os.rename("counter.new", "counter")
    os.kill(os.getpid(), signal.SIGKILL)
"""

MAIN = """
import pathlib, sys
from pgqueue.supervisor import memory
memory._places = lambda: iter([pathlib.Path("counter").absolute()])
from pgqueue.cli import main
sys.exit(main(["app", "-p", "1", "-t", "1"]))
"""


@pytest.mark.slow
def test_the_dead_letter_says_so(project: Project, database_url: str) -> None:
    project.write("app.py", APP)
    project.write("counter", "oom_kill 41\n")
    project.write("main.py", MAIN)
    environment: dict[str, str | None] = {"PGQUEUE_URL": database_url}
    program = project.start_python("main.py", env=environment)
    sender = project.start_python("-c", "import app; app.devour.send()", env=environment)
    assert sender.wait() == 0, sender.output

    def look() -> str:
        with psycopg.connect(database_url) as conn:
            rows = conn.execute("SELECT error FROM pgqueue.dead_letters").fetchall()
        assert len(rows) == 1, program.output
        return str(rows[0][0])

    assert "SIGKILL, most likely because the system was out of memory" in eventually(look, within_s=30.0)
    assert "because the system was out of memory; restarting it" in program.output


def test_a_kill_counts_for_some_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(memory, "monotonic", lambda: now[0])
    (tmp_path / "none").write_text("low 0\n")
    counter = tmp_path / "memory.events"
    counter.write_text("low 0\noom_kill 7\noom_group_kill 0\n")
    kills = MemoryKills([tmp_path / "missing", tmp_path / "none", counter])
    assert not kills.lately()
    counter.write_text("low 0\noom_kill 8\n")
    assert kills.lately()
    now[0] += memory.LATELY_S - 1
    assert kills.lately()
    now[0] += 2
    assert not kills.lately()


def test_looks_are_a_second_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(memory, "monotonic", lambda: now[0])
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 1\n")
    kills = MemoryKills([counter])
    counter.write_text("oom_kill 2\n")
    now[0] += 1.5
    kills.look()
    now[0] += memory.LATELY_S - 1
    kills.look()
    assert kills.lately()
    now[0] += 2
    assert not kills.lately()


def test_where_nobody_counts_nothing_is_put_down_to_memory(tmp_path: Path) -> None:
    kills = MemoryKills([tmp_path / "missing"])
    kills.look()
    assert not kills.lately()
