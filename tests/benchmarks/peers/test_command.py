from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT, Process


def run(
    words: list[str], tmp_path: Path, *, env: dict[str, str | None] | None = None
) -> tuple[int, Any, str]:
    """Run the comparison; return its exit code, its JSON and all that it printed."""
    out = tmp_path / "out.json"
    command = ["benchmarks.peers", *words, "--cache", str(tmp_path / "cache"), "--json"]
    source = f"""
        import contextlib, runpy, sys
        sys.argv = {command!r}
        with open({str(out)!r}, "w") as file, contextlib.redirect_stdout(file):
            runpy.run_module("benchmarks.peers", run_name="__main__")
    """
    with Process.script(source, env=env or {}, warm=True) as program:
        code = program.wait(timeout_s=150)
        text = out.read_text() if out.exists() else ""
        return code, json.loads(text) if text else None, program.output


def test_a_name_that_is_no_queue_is_refused_with_those_that_are() -> None:
    with Process(["-m", "benchmarks.peers", "swift"], cwd=ROOT, warm=True) as program:
        assert program.wait() == 2
        assert "There is no queue 'swift' here: expected pgqueue, awa," in program.output


def test_a_queue_whose_server_is_missing_is_skipped_with_the_reason(
    database_url: str, tmp_path: Path
) -> None:
    words = ["dramatiq_redis", "celery_redis", "--url", database_url]
    code, told, output = run(words, tmp_path, env={"PATH": str(tmp_path)})
    assert code == 0, output
    assert [queue["skipped"] for queue in told["queues"]] == [
        "redis-server was not found: apt-get install redis-server (Debian, Ubuntu)"
    ] * 2
    assert "Dramatiq on Redis is skipped: redis-server was not found" in output
    assert not (tmp_path / "cache").exists(), "an environment was made for nothing"


@pytest.mark.long
@pytest.mark.timeout(200)
def test_pgqueue_runs_each_of_200_messages_once_also_where_a_worker_is_killed(
    database_url: str, tmp_path: Path
) -> None:
    page = tmp_path / "table.md"
    words = [
        "pgqueue",
        "--messages",
        "200",
        "--rounds",
        "1",
        "--recovery",
        "90",
        "--url",
        database_url,
        "--markdown",
        str(page),
    ]
    code, told, output = run(words, tmp_path)
    assert code == 0, output
    (queue,) = told["queues"]
    assert queue["notes"] == [], output
    assert queue["checks"] == dict.fromkeys(("drain", "latency", "held"), "each once")
    assert queue["exactly_once"]
    assert queue["messages"] == 200
    assert queue["rounds"] == 1
    assert None not in (queue["latency_p50_ms"], queue["latency_p99_ms"], queue["recovery_s"])
    for figure in ("send", "send_many", "drain", "held"):
        assert queue[figure] > 0, figure
    assert "| pgqueue | " in page.read_text()
