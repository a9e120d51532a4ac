"""The server killed under load, with fsync on: what was sent is there, what was acked stays acked."""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgqueue import embedded, schema
from tests.support.eventually import eventually
from tests.support.postgres import quick_directory

from .checks import Facts, examine, wait_until_drained
from .conftest import Scale
from .fleet import Fleet
from .ledger import Ledger
from .load import Load, message

#: A bundled server that lived shorter than this, in seconds, is not started again by its keeper.
SHORT_LIFE_S = 5.5

#: Seconds of an outage: longer than a worker without a connection has until it is taken for lost.
OUTAGE_S = 7.0

#: Seconds from the first accepted connection after a crash within which messages run again.
RECOVERY_S = 5.0


@pytest.fixture
def server() -> Iterator[embedded.Server]:
    """A server of the drill's own, durable."""
    directory = tempfile.mkdtemp(prefix="pgqueue-drill-", dir=quick_directory())
    with embedded.start(
        directory, temporary=True, durable=True, settings={"shared_buffers": "64MB"}
    ) as started:
        schema.upgrade(started.url)
        yield started


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_crashes_of_the_server(
    server: embedded.Server, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """Runs of messages whose claim the crash has undone come again; acks that were durable count."""
    recoveries = []
    with Fleet(server.url, ledger) as fleet:
        fleet.start(2)
        with Load(server.url, ledger, dice, rate=200):
            for number in range(scale(1, 10, reach=50)):
                time.sleep(SHORT_LIFE_S + dice.uniform(0.0, 1.0))
                crash(server, ledger, how=signal.SIGKILL if number % 2 else signal.SIGQUIT)
                recoveries.append(wait_until_work_goes_on(server.url, ledger))
            time.sleep(1.0)
        wait_until_drained(server.url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0], fleet.output
    verdicts = examine(server.url, ledger, charged_by_guess=True)
    report(verdicts, crashes=len(recoveries), slowest_recovery_s=round(max(recoveries), 2))
    assert max(recoveries) < RECOVERY_S


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_outages(
    server: embedded.Server, ledger: Ledger, dice: random.Random, scale: Scale, report: Callable[..., None]
) -> None:
    """All connections end and for a while none is accepted: whoever is back first takes nobody for lost."""
    with Fleet(server.url, ledger) as fleet:
        fleet.start(3)
        with Load(server.url, ledger, dice, rate=100) as load:
            for _ in range(scale(1, 5)):
                load.send([message("long", number, 0.2) for number in range(60)])
                time.sleep(dice.uniform(0.2, 1.0))
                cut_off(server, for_s=OUTAGE_S)
                time.sleep(2.0)
        wait_until_drained(server.url, ledger)
        assert [fleet.stop(worker) for worker in list(fleet.workers)] == [0, 0, 0], fleet.output
        verdicts = examine(server.url, ledger)
        report(verdicts, outages=scale(1, 5), declared_lost=fleet.output.count("is lost"))
        assert "is lost" not in fleet.output
        assert verdicts.figures["charged"] == 0


def cut_off(server: embedded.Server, *, for_s: float) -> None:
    """End all connections and accept none for some seconds."""
    pid = _postmaster(server.directory / "data" / "postmaster.pid")
    with psycopg.connect(server.url, autocommit=True) as conn:
        os.kill(pid, signal.SIGSTOP)
        try:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            time.sleep(for_s)
        finally:
            os.kill(pid, signal.SIGCONT)


def crash(server: embedded.Server, ledger: Ledger, *, how: signal.Signals) -> None:
    """End the server at once: SIGQUIT is an immediate shutdown, SIGKILL leaves its processes to find out."""
    file = server.directory / "data" / "postmaster.pid"
    pid = _postmaster(file)
    os.kill(pid, how)

    def look() -> None:
        assert _postmaster(file) != pid
        psycopg.connect(server.url).close()

    ledger.write("crash")
    eventually(lambda: _connects(look), within_s=60.0)
    ledger.write("crash")


def wait_until_work_goes_on(url: str, ledger: Ledger) -> float:
    """Wait for a message that was claimed after now; return how long that took."""
    began, skip = time.time(), ledger.size

    def look() -> None:
        runs = [run for runs in Facts.of(ledger, skip=skip).runs.values() for run in runs]
        assert any(run.claimed_at > began for run in runs), url

    eventually(look, within_s=60.0)
    return time.time() - began


def _connects(look: Callable[[], None]) -> None:
    try:
        look()
    except psycopg.OperationalError as error:
        raise AssertionError(str(error)) from error


def _postmaster(file: Path) -> int:
    try:
        return int(file.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0
