"""A place to measure one queue in, and its two workers: processes as its users start them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..ending import end_group
from . import ledger
from .environments import Environment
from .peer import Peer

__all__ = ["Failure", "Site", "Workers", "stopped_with_the_block"]

#: Workers of each queue.
WORKERS = 2

#: Seconds for one call of a queue's program.
SENDING_S = 240.0

#: Set once everything is to end.
stopping = threading.Event()


class Failure(RuntimeError):
    """A queue's program or workers failed; the text holds their last words."""


class Site:
    """A temporary directory with a ledger and a gate, from which a queue's programs are run.

    Parameters:
      url: The queue's server.
    """

    def __init__(self, peer: Peer, environment: Environment, url: str) -> None:
        self.peer, self.python, self.url = peer, environment, url
        self._directory = tempfile.TemporaryDirectory(prefix="pgqueue-peers-", ignore_cleanup_errors=True)
        self.path = Path(self._directory.name)
        self.ledger, self.gate = self.path / "ledger", self.path / "gate"
        self.ledger.touch()
        # By this link alone: what lies beside the package is not to be found in other queues' environments.
        (self.path / "benchmarks").symlink_to(Path(__file__).parents[1], target_is_directory=True)
        self.environment = {
            **os.environ,
            "BENCH_GATE": str(self.gate),
            "BENCH_LEDGER": str(self.ledger),
            "BENCH_PEER_URL": url,
            "PYTHONPATH": str(self.path),
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, act: str, *numbers: int) -> dict[str, Any]:
        """Have the queue's program do something; return its answer."""
        with self._started(act, *numbers) as program:
            return self._answer(program, act)

    @contextlib.contextmanager
    def running(self, act: str, *numbers: int) -> Iterator[None]:
        """Have the queue's program do something beside the block, at whose end it has done so."""
        with self._started(act, *numbers) as program:
            yield
            self._answer(program, act)

    @contextlib.contextmanager
    def _started(self, act: str, *numbers: int) -> Iterator[subprocess.Popen[bytes]]:
        words = [
            str(self.python.python),
            "-m",
            "benchmarks.peers.run",
            self.peer.name,
            act,
            *map(str, numbers),
        ]
        program = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.path,
            start_new_session=True,
        )
        try:
            yield program
        finally:
            end_group(program)

    def _answer(self, program: subprocess.Popen[bytes], act: str) -> dict[str, Any]:
        try:
            out, err = program.communicate(timeout=SENDING_S)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{act} took longer than {SENDING_S:.0f} s") from error
        if program.returncode:
            raise Failure(f"{act} failed: {_last(err.decode(errors='replace'))}")
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer

    def records(self) -> list[ledger.Record]:
        """What the ledger holds."""
        return ledger.read(self.ledger)

    def wait(self, enough: Callable[[list[ledger.Record]], bool], within_s: float) -> bool:
        """Wait until the ledger holds enough; whether it did so in time. Reads it only when it has grown."""
        deadline, size = time.monotonic() + within_s, -1
        while time.monotonic() < deadline:
            if stopping.is_set():
                raise Failure("the benchmark is being stopped")
            now = self.ledger.stat().st_size
            if (now != size or not now) and enough(self.records()):
                return True
            size = now
            time.sleep(0.02)
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directory.cleanup()


class Workers:
    """Two workers of a queue; as a context manager they are ended, at once and whole, at exit."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for number in range(WORKERS):
                self._running.append(self._start(number))
        except BaseException:
            self._end()
            raise
        return self

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        site = self._site
        places = {
            "python": str(site.python.python),
            "bin": str(site.python.bin),
            "url": site.url,
            "worker": f"worker-{number}",
        }
        with self._log(number).open("wb") as log:
            return subprocess.Popen(
                [word.format(**places) for word in site.peer.worker],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=site.environment,
                cwd=site.path,
                start_new_session=True,
            )

    def _log(self, number: int) -> Path:
        return self._site.path / f"worker-{number}.log"

    def open_gate(self, *, within_s: float = 20.0) -> float:
        """Let the workers run once each of them has a task in its hands; return when.

        Where one of them has taken all that is there, nobody waits for the other longer than a few seconds.
        """
        site, first = self._site, [0.0]

        def met(records: list[ledger.Record]) -> bool:
            self.check(all(program.poll() is None for program in self._running))
            ready = [record for record in records if record.kind == ledger.READY]
            if ready and not first[0]:
                first[0] = time.monotonic()
            return len({self._owner(record.pid) for record in ready}) >= WORKERS

        if not site.wait(met, within_s):
            self.check(site.ledger.stat().st_size > 0)
        site.gate.touch()
        return time.monotonic()

    def kill_one(self, pids: list[int]) -> None:
        """Kill -9 a whole worker: the one to which most of these processes belong."""
        owners = [self._owner(pid) for pid in pids]
        victim = max(self._running, key=lambda program: owners.count(program.pid))
        os.killpg(victim.pid, signal.SIGKILL)
        victim.wait()

    def check(self, fine: bool) -> None:  # noqa: FBT001
        """Unless all is fine, fail with what the workers said."""
        if not fine:
            said = [_last(self._log(number).read_text(errors="replace")) for number in range(WORKERS)]
            raise Failure(f"the workers ran nothing: {said[0] or said[1] or 'they said nothing'}")

    def _owner(self, pid: int) -> int:
        with contextlib.suppress(ProcessLookupError):
            return os.getpgid(pid)
        return 0

    def _end(self) -> None:
        for program in self._running:
            end_group(program)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


def _last(text: str) -> str:
    """The end of what a program said, on one line."""
    return " ".join(text.split())[-400:]


@contextlib.contextmanager
def stopped_with_the_block() -> Iterator[None]:
    """Tell all sites to stop waiting if the block ends by an exception."""
    stopping.clear()
    try:
        yield
    except BaseException:
        stopping.set()
        raise
