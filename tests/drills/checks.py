"""The checks: what the ledger and the queue say, compared. All drills share them.

lost: committed, and at the end neither done nor among the dead letters; or done, and never run.
overlap: two runs of one message at the same time, none of which had been cut short by the loss of its worker.
phantom: a run of a message that was never committed, or one after its ack was durable; or two acks.
stuck: still somewhere in the queue at the end, or rerun later than 15 s after its worker was killed; if others were
    killed who had claimed it since, after the last of them was.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.support.eventually import eventually

from .ledger import Entry, Ledger

__all__ = ["BROKEN", "Facts", "Run", "Verdicts", "examine", "wait_until_drained"]

#: Within so many seconds after the kill of its worker a message runs again.
RECOVERY_S = 15.0


#: What a failure says that is no matter of timing; nothing is run again after it.
BROKEN = "a promise was broken"


@dataclass(slots=True)
class Run:
    """One run of a message, from its start to its end or to the loss of its process."""

    pid: int
    started_at: float
    claimed_at: float
    token: str
    ended_at: float = float("inf")
    cut: bool = False


@dataclass(slots=True)
class Facts:
    """The ledger, told message by message."""

    sent: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    requeued: set[str] = field(default_factory=set)
    forgone: dict[str, float] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)
    runs: dict[str, list[Run]] = field(default_factory=lambda: defaultdict(list))
    losses: list[Entry] = field(default_factory=list)
    held: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    crashes: list[float] = field(default_factory=list)
    promotions: list[Entry] = field(default_factory=list)
    servers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, ledger: Ledger, *, skip: int = 0) -> "Facts":
        """Read a ledger, but for its first bytes that are skipped."""
        facts = cls()
        for entry in ledger.read(skip=skip):
            facts._take(entry)
        return facts

    def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "sent" | "unsure" | "may be requeued" as kind:
                ids = {"sent": self.sent, "unsure": self.unsure, "may be requeued": self.requeued}
                ids[kind].add(entry.subject)
            case "forgone":
                self.sent.discard(entry.subject)
                self.forgone[entry.subject] = entry.at
            case "begins" | "start":
                self._start(entry)
            case "end":
                self._end(entry)
            case "killed" | "lost":
                self.losses.append(entry)
                self._cut(lambda run: run.pid == entry.pid, entry.at)
            case _:
                self._note(entry)

    def _note(self, entry: Entry) -> None:
        if entry.kind == "held":
            self.held[entry.subject].append(entry.at)
        elif entry.kind == "crash":
            self.crashes.append(entry.at)
        elif entry.kind in {"promoted", "claims"}:
            self._place(entry)

    def _place(self, entry: Entry) -> None:
        if entry.kind == "promoted":
            self.promotions.append(entry)
        else:
            self.servers[entry.subject].add(entry.token)

    def servers_of(self, run: Run) -> set[str]:
        """The servers on which a run can have been claimed: one, if nothing is wrong."""
        return self.servers.get(run.token.partition("/")[0], set())

    def lapsed(self, run: Run) -> bool:
        """Whether a run was claimed on a server that another had taken over from, or took over from before its end."""
        leads = True
        for entry in self.promotions:
            if run.claimed_at < entry.at:
                return not leads or (entry.token in self.servers_of(run) and entry.at < run.ended_at)
            if entry.token in self.servers_of(run):
                leads = False
            elif entry.subject in self.servers_of(run):
                leads = True
        return not leads

    def _start(self, entry: Entry) -> None:
        if entry.kind == "begins":
            self.begun[entry.subject] += 1
            return
        run = Run(entry.pid, entry.at, entry.claimed_at, entry.token)
        if any(loss.pid == entry.pid and loss.kind == "killed" for loss in self.losses):
            # A kill is written down just before it: what the process still began has been cut at once.
            run.ended_at, run.cut = entry.at, True
        self.runs[entry.subject].append(run)

    def _end(self, entry: Entry) -> None:
        for run in self.runs[entry.subject]:
            if run.pid == entry.pid and run.ended_at == float("inf"):
                run.ended_at = entry.at

    def _cut(self, is_hit: Any, at: float) -> None:
        for run in (run for runs in self.runs.values() for run in runs):
            if is_hit(run) and run.ended_at > at:
                run.ended_at, run.cut = at, True


@dataclass(slots=True)
class Verdicts:
    """What was found: the message ids that fail each check, and figures for the report."""

    lost: set[str] = field(default_factory=set)
    overlap: set[str] = field(default_factory=set)
    phantom: set[str] = field(default_factory=set)
    stuck: set[str] = field(default_factory=set)
    figures: dict[str, float] = field(default_factory=dict)
    dead_letters: list[str] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def assert_tried(self) -> None:
        """Fail if nothing was sent or nothing was run: four zeros of that say nothing."""
        tried = self.figures.get("sent", 0) > 0 and self.figures.get("runs", 0) > 0
        assert tried, f"nothing was tried: {self.figures}"

    def assert_clean(self) -> None:
        """Fail with the first of whatever was found; no actor of the load fails for good."""
        found = {
            name: sorted(ids)[:5]
            for name in ("lost", "overlap", "phantom", "stuck")
            if (ids := getattr(self, name))
        }
        assert not found, self._complaint(found)
        assert not self.dead_letters, self.dead_letters[:5]

    def _complaint(self, found: dict[str, list[str]]) -> str:
        lines = [BROKEN] if found.keys() - {"stuck"} else []
        lines += [f"{name}: {', '.join(ids)}" for name, ids in found.items()]
        lines += [f"{id_}: {run}" for ids in found.values() for id_ in ids for run in self.runs.get(id_, ())]
        return "\n".join([*lines, str(self.figures)])


def wait_until_drained(url: str, ledger: Ledger, *, within_s: float = 40.0, skip: int = 0) -> None:
    """Wait until all that was sent has an outcome and nothing is left; at the deadline, leave it to the checks.

    Parameters:
      skip: Bytes of the ledger that were drained before: a long one takes longer to read than its end to come.
    """

    def look() -> None:
        sent = Facts.of(ledger, skip=skip).sent
        with psycopg.connect(url) as conn:
            assert not _left(conn)
            assert sent <= {row[0] for row in conn.execute("SELECT message_id::text FROM pgqueue.outcomes")}

    try:
        eventually(look, within_s=within_s)
    except AssertionError:
        return


def examine(url: str, ledger: Ledger, *, charged_by_guess: bool = False) -> Verdicts:
    """Compare ledger and queue, after the load has ended and was drained.

    Parameters:
      charged_by_guess: Messages that never started may have been charged (nobody knew what ran).
    """
    facts = Facts.of(ledger)
    verdicts = Verdicts(runs=dict(facts.runs))
    with psycopg.connect(url) as conn:
        outcomes = _outcomes(conn)
        verdicts.stuck |= _left(conn)
        dead = conn.execute("SELECT reason, error FROM pgqueue.dead_letters").fetchall()
    verdicts.lost = {
        id_ for id_ in facts.sent if id_ not in outcomes or (outcomes[id_] and not facts.runs[id_])
    }
    verdicts.lost -= verdicts.stuck
    _look_for_phantoms(facts, outcomes, verdicts)
    _look_for_overlaps(facts, verdicts)
    assert all(len(servers) == 1 for servers in facts.servers.values()), facts.servers
    recoveries = _recoveries(facts, verdicts)
    guessed = sum(
        attempts > max(0, max(facts.begun[id_], len(facts.runs[id_])) - 1)
        for id_, ended in outcomes.items()
        for _, attempts, _ in ended
    )
    if guessed and not charged_by_guess:
        verdicts.figures["charged unstarted"] = guessed
        raise AssertionError(f"{guessed} messages were charged and had never started")
    verdicts.dead_letters = [f"{reason}: {error}" for reason, error in dead]
    verdicts.figures = {
        "sent": len(facts.sent), "runs": sum(map(len, facts.runs.values())),
        "losses": len(facts.losses), "crashes": len(facts.crashes),
        "cut": sum(run.cut for runs in facts.runs.values() for run in runs),
        "slowest rerun s": round(max(recoveries, default=0.0), 2),
        **({"slowest in all s": round(slowest, 2)} if (slowest := _slowest(facts)) > RECOVERY_S else {}),
        "charged": sum(attempts for ended in outcomes.values() for _, attempts, _ in ended),
        "charged unstarted": guessed, "dead letters": len(dead),
        **({"claimed from an old primary": sum(facts.lapsed(run) for runs in facts.runs.values() for run in runs)}
           if facts.promotions else {}),
    }  # fmt: skip
    return verdicts


def _outcomes(conn: "psycopg.Connection[Any]") -> dict[str, list[tuple[str, int, float]]]:
    """For each message: status, attempts and time of its ends."""
    found: dict[str, list[tuple[str, int, float]]] = defaultdict(list)
    for id_, *ended in conn.execute(
        "SELECT message_id::text, status::text, attempts, extract(epoch FROM finished_at)::float8 "
        "FROM pgqueue.outcomes"
    ):
        found[id_].append((ended[0], ended[1], ended[2]))
    return dict(found)


def _left(conn: "psycopg.Connection[Any]") -> set[str]:
    """The messages that are somewhere in the queue, and the leases that hold nothing known."""
    rows = conn.execute(
        "SELECT coalesce(message.message_id::text, 'without payload ' || ready.id) "
        "FROM pgqueue.ready LEFT JOIN pgqueue.messages AS message USING (slot, id) "
        "UNION ALL SELECT message_id::text FROM pgqueue.scheduled "
        "UNION ALL SELECT 'lease ' || lid FROM pgqueue.leases"
    )
    return {row[0] for row in rows}


def _look_for_phantoms(
    facts: Facts, outcomes: dict[str, list[tuple[str, int, float]]], verdicts: Verdicts
) -> None:
    known = facts.sent | facts.unsure | facts.requeued | facts.forgone.keys()
    verdicts.phantom |= {id_ for id_ in facts.runs if id_ not in known}
    # What a crash was allowed to take is not to come back.
    verdicts.phantom |= {
        id_
        for id_, at in facts.forgone.items()
        if id_ in outcomes or any(run.claimed_at > at for run in facts.runs[id_])
    }
    # What an operator requeues begins anew after its end.
    once = {id_: ended for id_, ended in outcomes.items() if id_ not in facts.requeued}
    verdicts.phantom |= {id_ for id_, ended in once.items() if len(ended) > 1}
    for id_, ended in once.items():
        acked_at = min(at for _, _, at in ended)
        if any(run.started_at > acked_at and not _excused(run, facts) for run in facts.runs[id_]):
            verdicts.phantom.add(id_)


def _look_for_overlaps(facts: Facts, verdicts: Verdicts) -> None:
    for id_, runs in facts.runs.items():
        counted = sorted((run for run in runs if not _excused(run, facts)), key=lambda run: run.started_at)
        busy_until = 0.0
        for run in counted:
            if run.started_at < busy_until:
                verdicts.overlap.add(id_)
            busy_until = max(busy_until, run.ended_at)


def _excused(run: Run, facts: Facts) -> bool:
    """Whether a run's claim may have been void.

    It was made before a crash of the server, before its owner was lost, or on a server that leads no more.
    """
    voided = [
        *facts.crashes,
        *(loss.at for loss in facts.losses if loss.kind == "lost" and loss.pid == run.pid),
    ]
    return (
        any(run.claimed_at < at < run.ended_at for at in voided)
        or (run.cut and any(run.claimed_at < at for at in voided))
        or facts.lapsed(run)
    )


def _recoveries(facts: Facts, verdicts: Verdicts) -> list[float]:
    """How long after the kill of the last worker that held it each message that was running ran again."""
    waits = []
    for id_, cut_at, again_at in _reruns(facts):
        held_until = max([at for at in facts.held.get(id_, ()) if cut_at < at < again_at], default=cut_at)
        waits.append(again_at - held_until)
        if again_at - held_until > RECOVERY_S:
            verdicts.stuck.add(id_)
    return waits


def _slowest(facts: Facts) -> float:
    """The longest time from the kill of its worker until a message ran again, whoever had claimed it meanwhile."""
    return max((again_at - cut_at for _, cut_at, again_at in _reruns(facts)), default=0.0)


def _reruns(facts: Facts) -> Iterator[tuple[str, float, float]]:
    for id_, runs in facts.runs.items():
        for run in runs:
            later = [other.started_at for other in runs if other.started_at > run.ended_at]
            if (
                run.cut and later
            ):  # or else its ack had been handed over just before, or it is lost and found as such
                yield id_, run.ended_at, min(later)
