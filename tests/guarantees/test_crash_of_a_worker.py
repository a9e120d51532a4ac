"""The messages of a worker that was killed with its supervisor run elsewhere; only what ran is charged for it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.project import Project, stop, worker_pids

#: Seconds from a worker's death within which its messages have been run elsewhere.
PROMISED_S = 15.0

APP = """
import pathlib, time, pgqueue
from pgqueue.brokers.postgres import PostgresBroker
broker = PostgresBroker()
pgqueue.set_broker(broker)

@pgqueue.actor(max_retries=0)
def note(number):
    pass

@pgqueue.actor(max_retries=0)
def hold(path):
    if not pathlib.Path(path).exists():
        pathlib.Path(path).touch()
        print("holding on", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    broker.enqueue_many([hold.message("held"), *[note.message(number) for number in range(20)]])
"""


def outcomes(url: str) -> list[tuple[str, str, int]]:
    """Each message that has ended: its actor, how, and how many claims of it were lost."""
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT actor_name, status::text, attempts FROM pgqueue.outcomes").fetchall()


def leased(url: str) -> int:
    """How many messages are claimed and not settled."""
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT coalesce(sum(cardinality(ids) - cardinality(done)), 0) FROM pgqueue.leases"
        )
        return int((row.fetchone() or (0,))[0])


@pytest.mark.slow
def test_its_messages_run_elsewhere_and_only_what_ran_is_charged(
    tmp_path: Path, programs: list[Process], database_url: str
) -> None:
    project = Project(tmp_path, programs)
    project.write("app.py", APP)
    env: dict[str, str | None] = {"PGQUEUE_URL": database_url}
    sender = project.start_python("app.py", env=env)
    assert sender.wait() == 0, sender.output
    victim = project.start_workers("-t", "1", env=env)
    victim.wait_for("holding on")
    other = project.start_workers("-t", "1", env=env)

    def prefetched_only() -> int:
        assert len(outcomes(database_url)) + leased(database_url) == 21
        return leased(database_url)

    assert eventually(prefetched_only, within_s=30.0) >= 2  # what runs, and what was only fetched
    os.killpg(os.getpgid(worker_pids(victim)[0]), signal.SIGKILL)
    killed_at = time.monotonic()

    def all_ended() -> None:
        assert len(outcomes(database_url)) == 21, other.output

    eventually(all_ended, within_s=killed_at + PROMISED_S - time.monotonic())
    notes = [("note", "d", 0)] * 20
    assert sorted(outcomes(database_url)) == [("hold", "d", 1), *notes]
    assert stop(other) == 0
