from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers.ledger import BEGUN, DONE, READY, Record, check, read
from tests.support.eventually import eventually
from tests.support.processes import Process, processes


def ran(*numbers: int) -> list[Record]:
    return [Record(number, DONE, 1, 0.0) for number in numbers]


def test_messages_that_ran_once_each_are_told_from_those_that_did_not() -> None:
    assert check(ran(0, 1, 2), range(3)).exactly_once
    found = check([*ran(0, 1, 1, 1, 7), Record(2, BEGUN, 1, 0.0), Record(3, READY, 1, 0.0)], range(4))
    assert (found.missing, found.twice, found.strange) == ([2, 3], [1], [7])
    assert not found.exactly_once


def test_what_is_wrong_is_said_in_words() -> None:
    assert str(check(ran(0), range(1))) == "each once"
    assert str(check(ran(0, 0, 5), range(3))) == "2 never ran, 1 ran more than once, 1 not sent"


def write(ledger: Path, gate: Path, source: str) -> Process:
    return Process.script(
        f"""
        from benchmarks.peers import ledger
        {source}
        """,
        env={"BENCH_LEDGER": str(ledger), "BENCH_GATE": str(gate)},
        warm=True,
    )


def test_records_of_many_processes_do_not_mix(tmp_path: Path) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    gate.touch()
    with processes() as running:
        for first in range(0, 2_000, 500):
            running.append(
                write(ledger, gate, f"for number in range({first}, {first} + 500): ledger.done(number)")
            )
        assert [program.wait(timeout_s=60) for program in running] == [0] * 4
    assert check(read(ledger), range(2_000)).exactly_once


def test_a_record_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"
    gate.touch()
    with write(ledger, gate, "ledger.begun(7); ledger.done(7)") as program:
        assert program.wait() == 0, program.output
    ledger.write_bytes(ledger.read_bytes()[:-1])
    assert [(record.number, record.kind) for record in read(ledger)] == [(7, BEGUN)]


def test_a_process_tells_that_it_has_a_task_and_waits_for_the_gate(tmp_path: Path) -> None:
    ledger, gate = tmp_path / "ledger", tmp_path / "gate"

    def kinds() -> list[int]:
        return [record.kind for record in read(ledger)] if ledger.exists() else []

    def waiting() -> None:
        assert kinds() == [READY]

    with write(ledger, gate, "ledger.done(1); ledger.done(2)") as program:
        eventually(waiting, within_s=30)
        gate.touch()
        assert program.wait() == 0, program.output
    assert kinds() == [READY, DONE, DONE]


@pytest.mark.parametrize("data", [b"", b"too short"])
def test_an_empty_ledger_has_no_records(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ledger").write_bytes(data)
    assert read(tmp_path / "ledger") == []
