"""Whatever is typed: a table, or what is wrong with it; a code that scripts can use, and never a traceback."""

from __future__ import annotations

import io
import os
import sys

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from pgqueue.cli import make_argument_parser

from .conftest import Run

FULL = os.environ.get("PGQUEUE_DRILLS") in {"full", "reach"}

#: Those that answer and end. `migrate` is told to write nothing.
COMMANDS = (
    "queues",
    "messages",
    "dead",
    "workers",
    "why",
    "doctor",
    "grafana",
    "migrate --check",
    "migrate --sql",
)

WORDS = (
    "list", "show", "retry", "cancel", "delete", "requeue", "purge", "groups", "pause", "resume", "default",
    "--queue", "--actor", "--state", "queued", "failed", "--limit", "--after", "--all", "--yes", "--json", "--reason",
    "--revision", "--down", "a:b", "+1", "base",
    "--error", "--schema", "--url", "--alerts", "--help", "-n", "-Q", "-a", "-s", "-y", "0", "-1", "1", "10000000000",
    "8f3c0b4e-30f0-4f53-9e3e-1f6d1b6f3f10", "nobody", "", "'; DROP SCHEMA pgqueue CASCADE; --", "%s", "%(name)s",
    "\ud83d", "ä" * 300,
)  # fmt: skip

words = st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=5)

fuzzed = settings(
    max_examples=2_000 if FULL else 120,
    deadline=None,
    database=None,
    derandomize=not FULL,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@pytest.mark.timeout(900 if FULL else 120)
def test_commands_of_operators_end_with_a_code_and_no_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @fuzzed
    @given(command=st.sampled_from(COMMANDS), rest=words)
    def attempt(command: str, rest: list[str]) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        code, output = run(*command.split(), *rest)
        assert code in {0, 1, 2, 3}, (command, rest, output)
        assert "Traceback" not in output
        assert code == 0 or output.strip(), (command, rest)

    attempt()
    code, output = run("queues")
    assert code == 0, output


WORKER_WORDS = (
    "app", "app:broker", "-p", "-t", "-Q", "--watch", "--use-spawn", "--fork", "--pid-file", "--log-file", "-v",
    "--verbose", "--worker-shutdown-timeout", "--path", "--skip-logging", "--version", "--help", "0", "-1", "x", "1e9",
)  # fmt: skip


def test_the_words_of_a_worker_are_parsed_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    @fuzzed
    @given(rest=st.lists(st.sampled_from(WORKER_WORDS) | st.text(max_size=8), max_size=6))
    def attempt(rest: list[str]) -> None:
        assert parsed(rest) in {0, 2}
        capsys.readouterr()

    def parsed(rest: list[str]) -> object:
        try:
            make_argument_parser().parse_args(rest)
        except SystemExit as end:
            return end.code
        return 0

    attempt()
