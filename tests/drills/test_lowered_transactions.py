"""Less durability, a crash, and transactional actors: an effect is lost with its acknowledgement, and comes again."""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from pgqueue import schema
from pgqueue.embedded.account import Account
from tests.support.eventually import eventually
from tests.support.postgres import quick_directory
from tests.support.replication import Node

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .horizon import Horizon, give_up
from .ledger import Ledger
from .load import Load
from .test_crashed_server import wait_until_work_goes_on
from .test_exactly_one_effect import PATIENT, charges

#: Each effect has a name of its own, so that one that is lost is told from the one that comes again.
TABLE = """
CREATE TABLE effects (
    message_id text NOT NULL,
    kind text NOT NULL,
    name uuid NOT NULL DEFAULT gen_random_uuid(),
    written_at float8 NOT NULL DEFAULT extract(epoch FROM clock_timestamp())
)
"""

#: Effects and acknowledgements, as one snapshot has them.
LOOK = """
SELECT 'effect' AS what, kind, message_id, name::text, written_at FROM effects
UNION ALL
SELECT 'ack', CASE WHEN actor_name = 'receipt' THEN 'receipt' ELSE 'charge' END, message_id::text,
    concat_ws(' ', message_id, finished_at), extract(epoch FROM finished_at)::float8
FROM pgqueue.outcomes WHERE status = 'd'
"""

#: The server writes its log late, and nobody else writes it by the way: what is lost is worth looking at.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "off",
    "wal_writer_delay": "3s",
    "wal_writer_flush_after": "64MB",
    "bgwriter_lru_maxpages": "0",
}

#: Messages a second, more than the workers can run, so that some always wait: longer than what is lost is old, so that
#: most of it is of messages that are not lost.
RATE = 120

#: So many effects at least the server has not called safe when it is killed.
LEAST_UNSAFE = 5

#: Has the server write its log: a commit waits for that if it has put something in there.
FLUSH = "BEGIN; SET LOCAL synchronous_commit = on; SELECT pg_logical_emit_message(true, 'drill', ''); COMMIT"


class Torn(Exception):
    """An effect without its acknowledgement, or the reverse. No AssertionError, which would be waited over."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is there: for each effect or acknowledgement, by its name, of which message it is."""

    effects: dict[str, str]
    acks: dict[str, str]
    receipts: Counter[str]
    latest: list[float]

    @classmethod
    def of(cls, conn: "psycopg.Connection[tuple[str, str, str, str, float]]") -> "Look":
        """Look.

        Raises:
          Torn: A charge is there without the acknowledgement of its message, or the reverse.
        """
        look = cls({}, {}, Counter(), [])
        for what, kind, message_id, name, at in conn.execute(LOOK).fetchall():
            if kind == "receipt":  # in the name of another message: only their number can be compared
                look.receipts[what] += 1
                continue
            (look.effects if what == "effect" else look.acks)[name] = message_id
            if what == "effect":
                look.latest.append(at)
        _compare(look.effects.values(), look.acks.values())
        if look.receipts["effect"] != look.receipts["ack"]:
            raise Torn(look.receipts)
        return look

    def unsafe(self, safe_until: float) -> int:
        """How many effects were written after the time until which all is safe."""
        return sum(at > safe_until for at in self.latest)


@dataclass(slots=True)
class Losses:
    """What the crashes have taken: the messages whose effect was there, by the name of that effect.

    Attributes:
      to_come: Of messages that are there still.
      gone: Of messages that were lost themselves.
    """

    to_come: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)

    def add(self, before: Look, after: Look, *, forgone: Collection[str]) -> None:
        """Compare what was there with what is there now."""
        effects = {name: id_ for name, id_ in before.effects.items() if name not in after.effects}
        acks = {name: id_ for name, id_ in before.acks.items() if name not in after.acks}
        _compare(effects.values(), acks.values())
        for name, id_ in effects.items():
            (self.gone if id_ in forgone else self.to_come)[name] = id_


def _compare(effects: Iterable[str], acks: Iterable[str]) -> None:
    there, acked = Counter(effects), Counter(acks)
    if there != acked:
        raise Torn(f"not acknowledged: {there - acked}, without effect: {acked - there}")


@pytest.fixture
def server() -> Iterator[Node]:
    """A server of the drill's own that confirms what it will have written seconds later."""
    directory = Path(tempfile.mkdtemp(prefix="pgqueue-drill-", dir=quick_directory()))
    Account.for_directory(directory).own(directory)
    node = Node(directory, "a", SETTINGS)
    try:
        node.initialise()
        node.start()
        schema.upgrade(node.url)
        node.execute(TABLE, "CHECKPOINT")
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_effect_is_lost_with_its_acknowledgement_and_comes_again(
    server: Node, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Never the one without the other; in the end each message that is not lost itself has its effect once."""
    least, crashes, losses = scale(1, 20), 0, Losses()
    with Fleet(server.url, ledger, env=PATIENT) as fleet:
        fleet.start(scale(1, 2))
        with Load(server.url, ledger, dice, rate=RATE, draw=charges, most_waiting=scale(25, 60)) as load:
            while crashes < least or not losses.to_come:
                crash(server, ledger, dice, losses)
                crashes += 1
                wait_until_work_goes_on(server.url, ledger)
        wait_until_drained(server.url, ledger, within_s=60.0)
        with psycopg.connect(server.url, autocommit=True) as conn:
            eventually(lambda: assert_ended(conn), within_s=60.0)
            last = Look.of(conn)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0] * scale(1, 2), fleet.output
    verdicts = examine(server.url, ledger, charged_by_guess=True)
    report(
        verdicts, crashes=crashes, effects=len(last.effects), effects_lost_and_come_again=len(losses.to_come),
        lost_with_their_message=len(losses.gone), sends_failed=load.failures,
    )  # fmt: skip
    # Nothing that was lost is back as it was, and of each message that was kept there is one effect.
    assert not (losses.to_come | losses.gone).keys() & last.effects.keys()
    facts = Facts.of(ledger)
    assert facts.sent <= set(last.effects.values()) <= facts.sent | facts.unsure
    assert set(losses.to_come.values()) <= set(last.effects.values())
    assert max(Counter(last.effects.values()).values()) == 1
    assert last.receipts["effect"] == len(last.effects)


def crash(server: Node, ledger: Ledger, dice: random.Random, losses: Losses) -> None:
    """Kill the server's processes when there are effects that it has not written yet; see what it has forgotten."""
    with Horizon(server.url) as horizon, psycopg.connect(server.url, autocommit=True) as conn:
        time.sleep(dice.uniform(0.5, 1.0))
        conn.execute(FLUSH)
        time.sleep(dice.uniform(0.1, 0.4))

        def look() -> Look:
            found = Look.of(conn)
            assert found.unsafe(horizon.safe_until) >= LEAST_UNSAFE
            return found

        before = eventually(look, within_s=30.0)
        ledger.write("crash")
        server.kill()
    server.start()
    ledger.write("crash")
    forgone = give_up(server.url, ledger)
    with psycopg.connect(server.url, autocommit=True) as conn:
        losses.add(before, Look.of(conn), forgone=forgone)


def assert_ended(conn: "psycopg.Connection[tuple[str, str, str, str, float]]") -> None:
    """See that nothing is left, receipts included."""
    left = conn.execute(
        "SELECT FROM pgqueue.ready UNION ALL SELECT FROM pgqueue.leases UNION ALL SELECT FROM pgqueue.scheduled"
    ).fetchall()
    assert not left
