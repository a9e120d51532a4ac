"""A benchmark that is told to end takes its workers and its server with it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.processes import ROOT, Process

#: Benchmarks that would run for long.
DRAIN = ["-m", "benchmarks", "drain", "--no-page", "--scale", "0.01", "--rounds", "100000"]
PEERS = ["-m", "benchmarks.peers", "pgqueue", "--messages", "50000", "--recovery", "600"]


def mentioned(directory: str) -> list[str]:
    """The command lines of the processes that were started with this directory for temporary files, or work in it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if directory in words or f"TMPDIR={directory}\0" in environment:
            found.append(words)
    return found


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("words", "worker", "number", "code"),
    [
        pytest.param(DRAIN, "benchmarks.app", signal.SIGTERM, 143, id="bench, SIGTERM"),
        pytest.param(DRAIN, "benchmarks.app", signal.SIGINT, 130, id="bench, SIGINT"),
        pytest.param(
            PEERS,
            "benchmarks.peers.programs.pgqueue",
            signal.SIGTERM,
            143,
            id="bench-peers, SIGTERM",
        ),
    ],
)
def test_a_signal_ends_the_workers_and_the_server_with_the_benchmark(
    words: list[str], worker: str, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    with Process(words, cwd=ROOT, env={"TMPDIR": str(tmp_path)}) as program:

        def started() -> None:
            running = mentioned(str(tmp_path))
            assert any(worker in line for line in running), (running, program.output)
            assert any("postgres" in line for line in running), (running, program.output)

        eventually(started, within_s=90)
        program.send(number)
        assert program.wait(timeout_s=60) == code, program.output

        def ended() -> None:
            assert mentioned(str(tmp_path)) == []

        eventually(ended, within_s=60)
        assert list(tmp_path.iterdir()) == [], "temporary files are left"
