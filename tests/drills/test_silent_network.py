"""A network that falls silent and closes nothing: a worker behind a proxy that no longer passes anything on."""

import random
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgqueue.storage.answering import ANSWER_S
from tests.support.eventually import eventually
from tests.support.processes import Process
from tests.support.proxy import Proxy

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load

#: What is said when a connection is given up.
LOST = "has not answered"

#: Seconds within which a silence is noticed: fifteen, and two on a machine that is busy with all the others.
NOTICED_S = 17.0

#: Seconds for which silence is borne, in the short version.
SHORT_ANSWER_S = 3.0

#: By so many seconds a wait may have begun before the silence in which it was not answered.
ON_THE_WAY_S = 0.5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_blackholed_workers(
    database_url: str, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """The worker notices within seconds and works again soon after; what it runs meanwhile is acknowledged later."""
    noticed: list[float] = []
    back: list[float] = []
    borne_s = ANSWER_S if scale.full else SHORT_ANSWER_S
    env = {} if scale.full else {"DRILL_ANSWER_S": str(SHORT_ANSWER_S)}
    with (
        Proxy(database_url) as proxy,
        Fleet(through(proxy, scale), ledger, env=env) as fleet,
        Fleet(database_url, ledger) as others,
    ):
        (victim,), (other,) = fleet.start(1), others.start(1)
        with Load(database_url, ledger, dice, rate=200):
            for _ in range(scale(1, 5)):
                noticed.append(notices_silence(victim, proxy, borne_s))
                # Below the minute after which the others take over what a silent worker holds.
                time.sleep(dice.uniform(0.0, scale(1, 25)))
                back.append(works_again(victim, proxy, ledger, database_url))
        wait_until_drained(database_url, ledger)
        assert [others.stop(other), fleet.stop(victim)] == [0, 0], victim.output
        report(
            examine(database_url, ledger),
            silences=len(noticed),
            noticed_within_s=round(max(noticed), 1),
            back_within_s=round(max(back), 1),
        )
        if scale.full:
            assert max(noticed) < NOTICED_S
            assert max(back) < 20.0


def through(proxy: Proxy, scale: Scale) -> str:
    """The proxy's URL; in the short version nobody waits long for a connection."""
    return proxy.url if scale.full else make_conninfo(proxy.url, connect_timeout=2)


def notices_silence(victim: Process, proxy: Proxy, borne_s: float) -> float:
    """Fall silent; return after how many seconds the worker says so.

    Parameters:
      borne_s: For how long it waits for an answer: what it says sooner is about connections of a silence before.
    """
    before, began = victim.output.count(LOST), time.monotonic()
    proxy.silence()

    def told() -> None:
        nonlocal before
        said = victim.output.count(LOST)
        if time.monotonic() - began < borne_s - ON_THE_WAY_S:
            before = said
        assert said > before, victim.output

    eventually(told, within_s=60.0)
    return time.monotonic() - began


def works_again(victim: Process, proxy: Proxy, ledger: Ledger, url: str) -> float:
    """End the silence; return after how many seconds the worker has claimed anew, and its heartbeat goes on."""
    restored = time.time()
    proxy.restore()

    def claims() -> None:
        runs = [run for runs in Facts.of(ledger).runs.values() for run in runs if run.pid == victim.pid]
        assert any(run.claimed_at > restored for run in runs), victim.output

    def shows_that_it_lives() -> None:
        with psycopg.connect(url) as conn:
            seen = "SELECT extract(epoch FROM seen_at) FROM pgqueue.workers WHERE pid = %s"
            assert any(at > restored for (at,) in conn.execute(seen, (victim.pid,))), victim.output

    eventually(claims, within_s=60.0)
    eventually(shows_that_it_lives, within_s=60.0)
    return time.time() - restored
