"""The ledger: a file outside the queue, to which every process appends what it did, one line in one write."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .clocks import true_time

__all__ = ["Entry", "Ledger"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    Attributes:
      at: When, in seconds since 1970; all processes and the server are on one machine.
      kind: ``sent`` (and committed), ``due`` (not before ``claimed_at``), ``too old`` (before it
        can start), ``passed`` (a rate limit), ``begins``, ``start``, ``end``, ``held`` (claimed, by a
        process that is killed next), ``killed``, ``lost``, ``crash``, ``forgone`` (lost where durability
        is lowered), ``may be requeued`` (a dead letter, by an operator); with several servers ``claims``
        and ``promoted``.
      subject: A message id; for what befalls a process, nothing. Of ``claims`` an owner, of ``promoted`` a server.
      token: What the message was claimed as: owner and lease. Of ``claims`` the server, of ``promoted`` the one
        that is taken over from.
      claimed_at: When it was claimed.
      attempts: What the queue told of earlier claims.
    """

    at: float
    kind: str
    pid: int
    subject: str = ""
    token: str = ""
    claimed_at: float = 0.0
    attempts: int = 0


class Ledger:
    """Appends to a file and reads it. A line survives the kill of its writer once `write` has returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(
        self,
        kind: str,
        *subjects: str,
        pid: int = 0,
        token: str = "",
        claimed_at: float = 0.0,
        attempts: int = 0,
    ) -> None:
        """Append one line for each subject, all in one write; without a subject, one line."""
        now = true_time()
        rest = f"{token}\t{claimed_at:.6f}\t{attempts}"
        lines = [
            f"{now:.6f}\t{kind}\t{pid or os.getpid()}\t{subject}\t{rest}\n" for subject in subjects or [""]
        ]
        os.write(self._file, "".join(lines).encode())

    @property
    def size(self) -> int:
        """Its length in bytes, to be skipped by a later look."""
        return os.fstat(self._file).st_size

    def read(self, *, skip: int = 0) -> Iterator[Entry]:
        """All entries, in the order of their time, but those in the first bytes that are skipped.

        Of what somebody is writing just now, or was when the bytes were counted, there may be a part of a line.
        """
        entries = []
        written = self.path.read_bytes()
        begin = written.find(b"\n", skip - 1) + 1 if skip else 0
        for line in written[begin : written.rfind(b"\n") + 1].decode().splitlines():
            at, kind, pid, subject, token, claimed_at, attempts = line.split("\t")
            entries.append(Entry(float(at), kind, int(pid), subject, token, float(claimed_at), int(attempts)))
        yield from sorted(entries, key=lambda entry: entry.at)

    def close(self) -> None:
        """Close the file; it stays."""
        os.close(self._file)
