"""What is measured of each queue."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

import psycopg

from ..figures import percentile
from . import ledger
from .environments import Environment
from .peer import Peer
from .services import Services
from .workers import Failure, Site, Workers

__all__ = ["Options", "Outcome", "measure", "measure_recovery"]

#: What an application does that forgets to commit: rows that die after this can't be cleaned away.
HOLD = ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT pg_current_xact_id()")

#: Seconds after which no other round is begun.
ENOUGH_S = 30.0

#: What a check says if nothing is wrong.
EACH_ONCE = str(ledger.Check([], [], []))

#: Slow messages at most, when a worker is killed.
SLOW = 40

#: Seconds to wait after the last message for one that runs again.
AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured.

    Parameters:
      messages: Messages of a drain, of which a slow queue gets its share.
      rounds: Rounds at most; with a slow queue, one is enough.
      one_by_one: How many of them at most are sent one by one, where there is another way.
      paced: Messages whose latency is measured.
      patience_s: Seconds to wait for a drain.
      recovery_s: Seconds to wait for what a killed worker left behind.
      held: Whether to drain under a held snapshot, too.
    """

    messages: int = 20_000
    rounds: int = 3
    one_by_one: int = 2_000
    paced: int = 150
    patience_s: float = 120.0
    recovery_s: float = 120.0
    held: bool = True


@dataclass(slots=True)
class Outcome:
    """What was found of one queue; None is what could not be measured or doesn't exist.

    Parameters:
      rounds: How many there were; the medians count.
      send, send_many, drain, held: Messages a second.
      held_ratio: The drain under a held snapshot to the one without.
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
    rounds: int = 0
    send: float | None = None
    send_many: float | None = None
    drain: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    held: float | None = None
    held_ratio: float | None = None
    recovery_s: float | None = None
    waited_s: float | None = None
    rerun: int | None = None
    checks: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def exactly_once(self) -> bool:
        """Whether every message of every scenario ran once."""
        return bool(self.checks) and all(found == EACH_ONCE for found in self.checks.values())

    def asdict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "exactly_once": self.exactly_once}


@dataclass(slots=True)
class Round:
    """What one round found, in messages a second."""

    send: float | None = None
    send_many: float | None = None
    drain: float | None = None
    held: float | None = None


def measure(
    peer: Peer, environment: Environment, services: Services, options: Options, outcome: Outcome
) -> None:
    """Sending, a drain, latency and the drain under a held snapshot; what fails is noted, and the rest goes on."""
    outcome.messages = max(100, int(options.messages * peer.share))
    began, rounds = time.monotonic(), list[Round]()
    while len(rounds) < options.rounds and (not rounds or time.monotonic() - began < ENOUGH_S):
        rounds.append(Round())
        _measure_round(peer, environment, services, options, outcome, rounds)
    outcome.rounds = len(rounds)
    for name in ("send", "send_many", "drain", "held"):
        setattr(outcome, name, _median([getattr(found, name) for found in rounds]))
    outcome.held_ratio = _median([found.held / found.drain for found in rounds if found.held and found.drain])


def _measure_round(
    peer: Peer,
    environment: Environment,
    services: Services,
    options: Options,
    outcome: Outcome,
    rounds: list[Round],
) -> None:
    found = rounds[-1]
    with _noted(outcome, "drain"), _prepared(peer, environment, services) as site:
        _send(site, outcome, options, found)
        with Workers(site) as workers:
            found.drain = _drain(site, workers, outcome, options, "drain")
            if len(rounds) == 1:
                _latency(site, outcome, options)
    if peer.service != "postgres" or not options.held:
        return
    with _noted(outcome, "held"), _prepared(peer, environment, services) as site, _held(site.url):
        site.run("many" if found.send_many is not None else "send", 0, outcome.messages)
        with Workers(site) as workers:
            found.held = _drain(site, workers, outcome, options, "held")


def _median(values: list[float | None] | list[float]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


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


def _send(site: Site, outcome: Outcome, options: Options, found: Round) -> None:
    """Fill the queue, one by one first; the first of these is not counted, for it connects."""
    single = min(options.one_by_one, outcome.messages // 2)
    found.send = (single - 1) / site.run("send", 0, single)["seconds"]
    rest = outcome.messages - single
    try:
        found.send_many = rest / site.run("many", single, rest)["seconds"]
    except Failure as failure:
        if "NotImplementedError" not in str(failure):
            raise
        site.run("send", single, rest)


def _note_check(outcome: Outcome, scenario: str, found: ledger.Check) -> None:
    """Keep what was wrong in any round."""
    if outcome.checks.get(scenario, EACH_ONCE) == EACH_ONCE:
        outcome.checks[scenario] = str(found)


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
    _note_check(outcome, scenario, ledger.check(records, range(total)))
    done = [record.at for record in records if record.kind == ledger.DONE]
    return len(done) / (max(done) - began)


def _count(records: list[ledger.Record]) -> int:
    return len({record.number for record in records if record.kind == ledger.DONE})


def _latency(site: Site, outcome: Outcome, options: Options) -> None:
    first, count = outcome.messages, options.paced
    sent = site.run("paced", first, count)["sent"]
    total = first + count
    site.wait(lambda records: _count(records) >= total, min(30.0, options.patience_s))
    time.sleep(AFTER_S)
    records = site.records()
    _note_check(outcome, "latency", ledger.check(records, range(total)))
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
