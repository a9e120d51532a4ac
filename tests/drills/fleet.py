"""The fleet: worker processes that a drill starts, torments and replaces."""

import random
import signal
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import psycopg

from tests.support.processes import Process, alive

from .ledger import Ledger

__all__ = ["Fleet"]

#: What a worker holds, claimed and not acknowledged.
HELD = """
SELECT message.message_id::text
FROM pgqueue.workers
JOIN pgqueue.leases USING (owner)
CROSS JOIN unnest(leases.ids) AS part (id)
JOIN pgqueue.messages AS message ON message.slot = leases.slot AND message.id = part.id
WHERE workers.pid = %s AND part.id <> ALL (leases.done)
"""

#: Seconds within which a worker must be up, on a machine that is busy with all the others.
UP_S = 30.0


class Fleet:
    """Workers without a supervisor, each a process of its own; all are gone at the end.

    Parameters:
      command: What is started in the place of a worker of `program`.
      warm: Fork workers from an interpreter that has imported pgqueue: not where they change what it is made of.
    """

    def __init__(
        self,
        url: str,
        ledger: Ledger,
        *,
        threads: int = 4,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
        warm: bool = True,
    ) -> None:
        self.env = {"DRILL_URL": url, "DRILL_LEDGER": str(ledger.path), **(env or {})}
        self._ledger = ledger
        self.threads = threads
        self._warm = warm
        self._command = list(command) or ["-m", "tests.drills.worker", str(threads)]
        self.started: list[Process] = []
        self.workers: list[Process] = []

    def start(self, count: int = 1) -> list[Process]:
        """Start workers and wait until they are up."""
        new = [Process(self._command, env=self.env, warm=self._warm) for _ in range(count)]
        self.started += new
        self.workers += new
        for worker in new:
            worker.wait_for("up\n", within_s=UP_S)
        return new

    def kill(self, worker: Process) -> None:
        """Kill a worker with SIGKILL and write it down, and what it held; one that has ended by itself is a fault."""
        assert alive(worker.pid), worker.output
        self.workers.remove(worker)
        with psycopg.connect(self.env["DRILL_URL"]) as conn:
            held = [row[0] for row in conn.execute(HELD, (worker.pid,))]
        if held:
            self._ledger.write("held", *held, pid=worker.pid)
        self._ledger.write("killed", pid=worker.pid)
        worker.kill()

    def kill_one(self, dice: random.Random) -> None:
        """Kill a worker, any."""
        self.kill(dice.choice(self.workers))

    def stop(self, worker: Process) -> int:
        """Stop a worker gracefully; return its exit code."""
        self.workers.remove(worker)
        worker.send(signal.SIGTERM)
        return worker.wait()

    @property
    def output(self) -> str:
        """What all of them have written."""
        return "\n".join(worker.output for worker in self.started)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.started:
            worker.close()
