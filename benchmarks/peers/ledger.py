"""The ledger: a file beside all queues, into which every task writes that it ran.

A task appends one record of 32 bytes with one system call, the same for every queue. The file is opened for appending,
so records of many processes never mix.
"""

from __future__ import annotations

import functools
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BEGUN", "DONE", "READY", "Check", "Record", "begun", "check", "done", "read"]

#: What a record says: a process has its first task and waits at the gate, a task has begun, a task has run.
READY, BEGUN, DONE = 0, 1, 2

#: The number, the kind, the process, and the machine's monotonic clock in seconds.
_RECORD = struct.Struct("<qqqd")

#: Seconds for which a worker waits at the gate: if nobody opens it, it must not block for ever.
_PATIENCE_S = 60.0

_at_gate = threading.Lock()


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    number: int
    kind: int
    pid: int
    at: float


@dataclass(frozen=True, slots=True)
class Check:
    """Which messages didn't run exactly once.

    Parameters:
      missing: Never ran.
      twice: Ran more than once.
      strange: Ran and were never sent.
    """

    missing: list[int]
    twice: list[int]
    strange: list[int]

    @property
    def exactly_once(self) -> bool:
        """Whether every message ran once, and nothing else."""
        return not (self.missing or self.twice or self.strange)

    def __str__(self) -> str:
        """What is wrong, in a few words."""
        if self.exactly_once:
            return "each once"
        parts = [("never ran", self.missing), ("ran more than once", self.twice), ("not sent", self.strange)]
        return ", ".join(f"{len(numbers)} {what}" for what, numbers in parts if numbers)


def begun(number: int) -> None:
    """Write that a task has begun."""
    _append(number, BEGUN)


def done(number: int) -> None:
    """Write that a task has run; the first of a process waits until all workers may begin."""
    _pass_gate()
    _append(number, DONE)


def read(path: Path) -> list[Record]:
    """All records so far, in the order in which they were written."""
    data = path.read_bytes()
    whole = len(data) - len(data) % _RECORD.size
    return [Record(*fields) for fields in _RECORD.iter_unpack(data[:whole])]


def check(records: Iterable[Record], sent: Iterable[int]) -> Check:
    """Compare what ran with what was sent."""
    ran = Counter(record.number for record in records if record.kind == DONE)
    wanted = set(sent)
    return Check(
        missing=sorted(wanted - ran.keys()),
        twice=sorted(number for number, times in ran.items() if times > 1),
        strange=sorted(ran.keys() - wanted),
    )


@functools.cache
def _descriptor() -> int:
    return os.open(os.environ["BENCH_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _append(number: int, kind: int) -> None:
    os.write(_descriptor(), _RECORD.pack(number, kind, os.getpid(), time.monotonic()))


def _pass_gate() -> None:
    if not _passed:
        with _at_gate:
            if not _passed:
                _wait_at_gate(Path(os.environ["BENCH_GATE"]))
                _passed.append(os.getpid())


#: Not empty once this process has passed the gate.
_passed: list[int] = []


def _wait_at_gate(gate: Path) -> None:
    if gate.exists():
        return
    _append(0, READY)
    deadline = time.monotonic() + _PATIENCE_S
    while not gate.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
