"""A variable of the environment that holds what can't be used is a usage error, in one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgqueue.errors import BadSetting
from tests.support.processes import Process
from tests.support.project import Project

APP = """
import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
pgqueue.set_broker(PostgresBroker("postgresql://127.0.0.1:1/db"))
"""


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PGQUEUE_SCHEMA", "a" * 64, "63"),
        ("PGQUEUE_POOLER", "foo", "mode 'session' or 'transaction', not 'foo'"),
        ("pgqueue_worker_timeout", "abc", "must be a whole number, not 'abc'"),
        ("dramatiq_queue_prefetch", "", "must be a whole number, not ''"),
        ("pgqueue_dead_message_ttl", "7d", "must be a whole number, not '7d'"),
        ("pgqueue_max_messages_per_process", "many", "must be a whole number, not 'many'"),
    ],
)
def test_workers_name_the_variable_and_what_was_expected(
    tmp_path: Path, programs: list[Process], variable: str, value: str, expected: str
) -> None:
    # Not from an interpreter that has imported pgqueue: some are read then.
    project = Project(tmp_path, programs, warm=False)
    project.write("app.py", APP)
    code, output = project.run("app", "-p", "1", "-t", "1", env={variable: value})
    assert code == 2
    (told,) = [line for line in output.splitlines() if variable in line]
    assert expected in told
    assert "Traceback" not in output


def test_a_program_that_only_sends_does_not_mind_the_settings_of_workers(
    tmp_path: Path, programs: list[Process]
) -> None:
    project = Project(tmp_path, programs, warm=False)
    project.stub("pgqueue.actor(print).send()\n")
    env: dict[str, str | None] = {"pgqueue_worker_timeout": "abc"}
    sender = project.start_python("app.py", env=env)
    assert sender.wait() == 0, sender.output


def test_a_bad_setting_is_a_value_error_too() -> None:
    """Programs that caught that before go on to."""
    assert issubclass(BadSetting, ValueError)
