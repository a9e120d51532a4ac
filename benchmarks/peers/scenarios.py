"""What is measured of each queue."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import psycopg

from benchmarks.figures import percentile

from . import ledger
from .environments import Environment
from .peer import Peer
from .services import Services
from .workers import Failure, Site, Workers

__all__ = ["Options", "Outcome", "measure", "measure_recovery"]

#: What an application does that forgets to commit: rows that die after this can't be cleaned away.
HOLD = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT pg_current_xact_id()")

#: Slow messages at most, when a worker is killed.
SLOW = 40

#: Seconds to wait after the last message for one that runs again.
AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    Parameters:
      messages: Messages of a drain, of which a slow queue gets its share.
      one_by_one: How many of them at most are sent one by one, where there is another way.
      paced: Messages whose latency is measured.
      patience_s: Seconds to wait for a drain.
      recovery_s: Seconds to wait for what a killed worker left behind.
      held: Whether to drain under a held snapshot, too.
    """

    messages: int = 20_000
    one_by_one: int = 2_000
    paced: int = 150
    patience_s: float = 120.0
    recovery_s: float = 120.0
    held: bool = True


@dataclass(slots=True)
class Outcome:
    """What was found of one queue; None is what could not be measured or doesn't exist.

    Parameters:
      send, send_many, drain, held: Messages a second.
      latency_p50_ms, latency_p99_ms: From the return of a send to the start of its task, workers idle.
      recovery_s: From kill -9 of one of two workers until all messages have run, each of which takes some seconds.
      waited_s: How long was waited for that.
      rerun: Messages that the killed worker had begun and another worker began again.
      checks: By scenario, whether every message ran exactly once.
      notes: What else there is to say.
    """

    name: str
    title: str
    skipped: str = ""
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    version: str = ""
    server: str = ""
    settings: str = ""
    durability: str = ""
    messages: int = 0
    send: float | None = None
    send_many: float | None = None
    drain: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    held: float | None = None
    recovery_s: float | None = None
    waited_s: float | None = None
    rerun: int | None = None
    checks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def held_ratio(self) -> float | None:
        """The drain under a held snapshot to the one without."""
        return self.held / self.drain if self.held and self.drain else None

    @property
    def exactly_once(self) -> bool:
        """Whether every message of every scenario ran once."""
        return bool(self.checks) and all(found == "each once" for found in self.checks.values())

    def asdict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "held_ratio": self.held_ratio, "exactly_once": self.exactly_once}


def measure(
    peer: Peer, environment: Environment, services: Services, options: Options, outcome: Outcome
) -> None:
    """Sending, a drain, latency and the drain under a held snapshot; what fails is noted, and the rest goes on."""
    outcome.messages = max(100, int(options.messages * peer.share))
    with _noted(outcome, "drain"), _prepared(peer, environment, services) as site:
        _send(site, outcome, options)
        with Workers(site) as workers:
            outcome.drain = _drain(site, workers, outcome, options, "drain")
            _latency(site, outcome, options)
    if peer.service != "postgres" or not options.held:
        return
    with _noted(outcome, "held"), _prepared(peer, environment, services) as site, _held(site.url):
        _fill(site, 0, outcome.messages, many=outcome.send_many is not None)
        with Workers(site) as workers:
            outcome.held = _drain(site, workers, outcome, options, "held")


@contextlib.contextmanager
def _noted(outcome: Outcome, scenario: str) -> Iterator[None]:
    try:
        yield
    except Failure as failure:
        outcome.notes.append(f"{scenario}: {failure}")


@contextlib.contextmanager
def _prepared(peer: Peer, environment: Environment, services: Services) -> Iterator[Site]:
    with services.start(peer.service) as url, Site(peer, environment, url) as site:
        site.run("prepare")
        yield site


@contextlib.contextmanager
def _held(url: str) -> Iterator[None]:
    with psycopg.connect(url, autocommit=True) as holder:
        for statement in HOLD:
            holder.execute(statement)
        try:
            yield
        finally:
            holder.execute("ROLLBACK")


def _send(site: Site, outcome: Outcome, options: Options) -> None:
    """Fill the queue, one by one first; the first of these is not counted, for it connects."""
    single = min(options.one_by_one, outcome.messages // 2)
    outcome.send = (single - 1) / site.run("send", 0, single)["seconds"]
    rest = outcome.messages - single
    try:
        outcome.send_many = rest / site.run("many", single, rest)["seconds"]
    except Failure as failure:
        if "NotImplementedError" not in str(failure):
            raise
        site.run("send", single, rest)


def _fill(site: Site, first: int, count: int, *, many: bool) -> None:
    site.run("many" if many else "send", first, count)


def _drain(site: Site, workers: Workers, outcome: Outcome, options: Options, scenario: str) -> float:
    """Messages a second, from the word to begin until the last has run."""
    total = outcome.messages
    began = workers.open_gate()
    if not site.wait(lambda records: _count(records) >= total, options.patience_s):
        workers.check(_count(site.records()) > 0)
        outcome.notes.append(
            f"{scenario}: {_count(site.records()):,} of {total:,} had run after {options.patience_s:.0f} s"
        )
    time.sleep(AFTER_S)
    records = site.records()
    outcome.checks[scenario] = str(ledger.check(records, range(total)))
    done = [record.at for record in records if record.kind == ledger.DONE]
    return len(done) / (max(done) - began)


def _count(records: list[ledger.Record]) -> int:
    return len({record.number for record in records if record.kind == ledger.DONE})


def _latency(site: Site, outcome: Outcome, options: Options) -> None:
    first, count = outcome.messages, options.paced
    sent = site.run("paced", first, count)["sent"]
    total = first + count
    site.wait(lambda records: _count(records) >= total, 30.0)
    time.sleep(AFTER_S)
    records = site.records()
    outcome.checks["latency"] = str(ledger.check(records, range(total)))
    started = {record.number: record.at for record in records if record.kind == ledger.DONE}
    waits = [
        max(0.0, started[number] - at) * 1000 for number, at in enumerate(sent, first) if number in started
    ]
    if waits:
        outcome.latency_p50_ms, outcome.latency_p99_ms = percentile(waits, 50), percentile(waits, 99)


def measure_recovery(
    peer: Peer, environment: Environment, services: Services, options: Options, outcome: Outcome
) -> None:
    """How long what a killed worker was at takes to run elsewhere: mostly waiting, so many queues can do so at once."""
    with _noted(outcome, "recovery"), _prepared(peer, environment, services) as site:
        site.gate.touch()
        with Workers(site) as workers:
            _warm_up(site, workers)
            slow = range(1_000, 1_000 + min(peer.slots, SLOW))
            with site.running("slow", slow.start, len(slow)):
                workers.kill_one(_running(site, slow))
                killed = time.monotonic()
            recovered = site.wait(_all_done(slow), options.recovery_s)
        _tell_recovery(outcome, site, slow, killed if recovered else None, options)


def _warm_up(site: Site, workers: Workers) -> None:
    site.run("send", 0, 20)
    workers.check(site.wait(lambda records: _count(records) >= 20, 60.0))
    # The second worker may be slower to start, and tells nobody that it is there.
    time.sleep(4.0)


def _running(site: Site, slow: range) -> list[int]:
    """The processes that are at a slow message, a moment after the first has begun."""
    site.wait(lambda records: any(record.number in slow for record in records), 30.0)
    time.sleep(0.5)
    records = site.records()
    done = {record.number for record in records if record.kind == ledger.DONE}
    return [record.pid for record in records if record.number in slow and record.number not in done]


def _all_done(slow: range) -> Callable[[list[ledger.Record]], bool]:
    def enough(records: list[ledger.Record]) -> bool:
        done = {record.number for record in records if record.kind == ledger.DONE}
        return done.issuperset(slow)

    return enough


def _tell_recovery(outcome: Outcome, site: Site, slow: range, killed: float | None, options: Options) -> None:
    records = [record for record in site.records() if record.number in slow]
    begun = [record.number for record in records if record.kind == ledger.BEGUN]
    done = {record.number: record.at for record in records if record.kind == ledger.DONE}
    outcome.waited_s = options.recovery_s
    outcome.rerun = len(begun) - len(set(begun))
    if killed is None:
        left = len(slow) - len(done)
        outcome.notes.append(
            f"recovery: {left} of {len(slow)} had not run {options.recovery_s:.0f} s after the kill"
        )
        return
    outcome.recovery_s = max(done.values()) - killed
